"""What an agent project may say about a model: the `models` of `agent.yaml`."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, RootModel, field_validator, model_validator

from handrail.core.prices import DeclaredPrice

_OURS = frozenset({"model", "messages", "stream", "stream_options", "tools", "tool_choice", "response_format"})


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelParameters(_Strict):
    """Sent with every call, as they are named here."""

    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    max_tokens: int | None = Field(default=None, ge=1, description="Longest answer, in tokens.")
    max_completion_tokens: int | None = Field(default=None, ge=1, description="The same, as reasoning models name it.")
    frequency_penalty: float | None = Field(default=None, ge=-2, le=2)
    presence_penalty: float | None = Field(default=None, ge=-2, le=2)
    seed: int | None = None
    stop: list[str] | None = Field(default=None, max_length=4)
    reasoning_effort: str | None = None
    parallel_tool_calls: bool | None = None
    extra: dict[str, JsonValue] = Field(default_factory=dict, description="Whatever else the provider knows.")

    @field_validator("extra")
    @classmethod
    def _leaves_ours_alone(cls, extra: dict[str, JsonValue]) -> dict[str, JsonValue]:
        if taken := sorted(_OURS & extra.keys()):
            raise ValueError(f"{', '.join(map(repr, taken))} is set by Handrail; remove it")
        return extra

    def as_sent(self) -> dict[str, Any]:
        return {**self.model_dump(exclude={"extra"}, exclude_none=True), **self.extra}


class ModelConfig(_Strict):
    """One tier, such as `small` or `large`."""

    provider: Literal["openai_compatible", "scripted", "extractive"]
    model: str | None = Field(default=None, min_length=1, description="The provider's name of the model.")
    version: str | None = Field(
        default=None,
        min_length=1,
        description="The provider's full name of one fixed version; called in place of 'model'.",
    )
    fine_tune_id: str | None = Field(
        default=None, min_length=1, description="A tuned model; called in place of 'model'."
    )
    base_url: str | None = Field(default=None, pattern=r"^https?://[^/\s]+", description="Up to '/chat/completions'.")
    base_url_env: str | None = Field(
        default=None,
        min_length=1,
        description="A variable that, when set, replaces 'base_url' and makes the key optional.",
    )
    api_key_env: str | None = Field(default=None, min_length=1, description="The variable that holds the key.")
    parameters: ModelParameters = ModelParameters()
    fallbacks: list[str] = Field(
        default_factory=list, description="Tiers to try, in order, when this one fails or has no key."
    )
    connect_timeout_seconds: float = Field(default=5.0, gt=0)
    first_byte_timeout_seconds: float = Field(default=30.0, gt=0, description="Until the server begins to answer.")
    first_token_timeout_seconds: float | None = Field(
        default=None, gt=0, description="Until its first token, then the next tier is asked; else the server's setting."
    )
    silence_timeout_seconds: float = Field(default=30.0, gt=0, description="Between two pieces of an answer.")
    timeout_seconds: float = Field(
        default=60.0, gt=0, description="One whole call; the turn's deadline cuts it shorter."
    )
    price: DeclaredPrice | None = Field(
        default=None,
        description="'free', or US dollars per million tokens; else as the shipped price list says.",
    )
    replay_reasoning: bool = Field(
        default=False,
        description="Send the model's reasoning back with its tool calls, where the provider asks for it.",
    )
    replies: list[str] = Field(default_factory=list, description="What a scripted model says, over and over.")

    @property
    def called_name(self) -> str:
        """The name that goes into the call: the most exact one given."""
        return self.fine_tune_id or self.version or self.model or self.provider

    @model_validator(mode="after")
    def _has_what_its_provider_needs(self) -> Self:
        if self.provider == "openai_compatible":
            if not (self.model or self.version or self.fine_tune_id):
                raise ValueError("provider 'openai_compatible' needs 'model'; add the provider's name of it")
            if not (self.base_url or self.base_url_env):
                raise ValueError("provider 'openai_compatible' needs 'base_url' or 'base_url_env'; add one")
        if self.version and self.fine_tune_id:
            raise ValueError("'version' and 'fine_tune_id' both say which model is called; keep one")
        if bool(self.replies) != (self.provider == "scripted"):
            raise ValueError("'replies' is what provider 'scripted' says; give both or neither")
        return self


class ModelTiers(RootModel[dict[str, ModelConfig]]):
    """All models of one agent by tier; fallbacks name other tiers."""

    @model_validator(mode="after")
    def _fallbacks_exist(self) -> Self:
        if problem := next(fallback_problems(self.root), None):
            raise ValueError(problem)
        return self


def fallback_problems(tiers: Mapping[str, ModelConfig]) -> Iterator[str]:
    """A sentence for every fallback that names no other tier. Fallbacks of fallbacks are not followed."""
    for name, config in tiers.items():
        for fallback in config.fallbacks:
            if fallback not in tiers:
                known = ", ".join(map(repr, tiers))
                yield f"tier {name!r} falls back to {fallback!r}, which is not a tier; use one of {known}"
        if name in config.fallbacks:
            yield f"tier {name!r} falls back to itself; remove it"
