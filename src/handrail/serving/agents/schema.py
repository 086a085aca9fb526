"""What an `agent.yaml` file may say."""

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints, model_validator

from handrail.serving.agents.success import Success

Slug = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]*$", max_length=63)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]


# Without a model the agent still answers: in the words of its knowledge.
NO_MODEL: Mapping[str, dict[str, Any]] = {"large": {"provider": "extractive"}}


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RoutingThresholds(_Strict):
    """Confidence above which an intent is acted on, and above which the user is asked first."""

    execute: Share = Field(default=0.9, description="Above it, the intent is acted on at once.")
    confirm: Share = Field(default=0.6, description="Above it, the user is asked to confirm; below it, to clarify.")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.confirm > self.execute:
            raise ValueError(f"'confirm' ({self.confirm}) is above 'execute' ({self.execute}); swap them")
        return self


class AgentLimits(_Strict):
    """Where one turn ends, and how much of the conversation a model sees."""

    max_steps: int = Field(default=8, ge=1, le=50, description="Model calls in one turn.")
    max_tool_calls: int = Field(default=16, ge=0, le=200, description="Tool calls in one turn.")
    history_messages: int = Field(default=20, ge=0, le=500, description="Earlier messages that a model sees.")
    history_characters: int = Field(default=12_000, ge=0, le=1_000_000, description="Characters of those messages.")
    deadline_seconds: float | None = Field(
        default=None,
        gt=0,
        le=600,
        description="A whole turn; the server's setting is the most.",
    )


class HandoffMessage(_Strict):
    """What happens when the agent gives a conversation to people."""

    team: str | None = Field(default=None, description="The team that takes over.")
    message: str = Field(default="I am handing you over to a colleague.", min_length=1, description="Said to the user.")
    when_unanswered: bool = Field(
        default=True, description="Also when no model of the chain answers; one open case a conversation."
    )


class AgentConfig(_Strict):
    """The agent: its name, models, thresholds and limits."""

    name: Slug = Field(description="How the agent is addressed: lower-case letters, digits and '-'.")
    display_name: str | None = Field(default=None, min_length=1, description="How the agent is called on screen.")
    description: str = ""
    language: str = Field(default="en", pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$", description="A BCP 47 tag.")
    greeting: str | None = Field(default=None, min_length=1, description="Said before the user's first message.")
    variables: dict[str, JsonValue] = Field(default_factory=dict, description="Values that instructions.md may use.")
    models: dict[str, dict[str, Any]] = Field(
        default_factory=lambda: dict(NO_MODEL), description="A model for each tier, such as 'small' and 'large'."
    )
    default_model: str = Field(default="large", description="The tier that is used where nothing else is said.")
    routing: RoutingThresholds = RoutingThresholds()
    limits: AgentLimits = AgentLimits()
    handoff: HandoffMessage = HandoffMessage()
    success: Success = Success()

    @model_validator(mode="after")
    def _default_model_exists(self) -> Self:
        if self.default_model not in self.models:
            known = ", ".join(map(repr, self.models)) or "none"
            raise ValueError(f"default_model {self.default_model!r} is not among the models; use one of {known}")
        return self
