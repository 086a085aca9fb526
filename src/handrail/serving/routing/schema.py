"""What an `intents.yaml` file may say."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)]
Example = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000)]
Share = Annotated[float, Field(ge=0, le=1)]
RESERVED = ("oos", "out_of_scope")
_TARGETS = ("flow", "tool", "agent")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Intent(_Strict):
    """Something users want, how they say it, and what answers it."""

    name: Name
    title: str | None = Field(
        None,
        min_length=1,
        max_length=120,
        description="In people's words, as it is said when asking: 'track an order'.",
    )
    description: str | None = Field(None, description="For the people who maintain the project.")
    examples: list[Example] = Field(min_length=1, description="What users say; ten or more, as different as they are.")
    flow: Name | None = Field(None, description="The dialogue flow that answers.")
    tool: str | None = Field(None, min_length=1, description="The tool that answers, when it needs no question.")
    agent: Literal[True] | None = Field(None, description="`true`: the model answers, with the agent's tools.")
    execute: Share | None = Field(
        None, description="Act without asking above this confidence; the agent's when absent."
    )
    confirm: Share | None = Field(
        None, description="Ask 'did you mean' above this confidence; the agent's when absent."
    )
    confirm_question: str | None = Field(None, min_length=1, description="Asked instead of the usual confirm question.")

    @field_validator("name")
    @classmethod
    def _not_reserved(cls, name: str) -> str:
        if name in RESERVED:
            raise ValueError(f"{name!r} marks text out of scope; put those examples under 'out_of_scope'")
        return name

    @field_validator("examples")
    @classmethod
    def _different_examples(cls, examples: list[str]) -> list[str]:
        seen: set[str] = set()
        for example in examples:
            key = _normal(example)
            if not any(map(str.isalnum, key)):
                raise ValueError(f"the example {example!r} has no word; write it out")
            if key in seen:
                raise ValueError(f"the example {example!r} is given twice; keep one")
            seen.add(key)
        return examples

    @model_validator(mode="after")
    def _one_target(self) -> Self:
        given = [target for target in _TARGETS if getattr(self, target) is not None]
        if len(given) != 1:
            what = "none" if not given else " and ".join(given)
            raise ValueError(f"an intent has exactly one of 'flow', 'tool' and 'agent: true', and this one has {what}")
        if self.execute is not None and self.confirm is not None and self.confirm > self.execute:
            raise ValueError(f"'confirm' ({self.confirm:g}) is above 'execute' ({self.execute:g}); swap them")
        return self

    @property
    def spoken(self) -> str:
        """The words for questions to the user."""
        return self.title or self.name.replace("_", " ")


class Intents(_Strict):
    """The file: every intent once, and examples of what the agent is not for."""

    intents: list[Intent] = Field(min_length=2)
    out_of_scope: list[Example] = Field(
        default_factory=list, description="What users also say but no intent answers; generic ones ship with Handrail."
    )

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        names: set[str] = set()
        owner: dict[str, str] = {}
        for intent in self.intents:
            if intent.name in names:
                raise ValueError(f"the intent {intent.name!r} is given twice; put its examples together")
            names.add(intent.name)
            for example in intent.examples:
                other = owner.setdefault(_normal(example), intent.name)
                if other != intent.name:
                    raise ValueError(
                        f"the example {example!r} is in {other!r} and in {intent.name!r}; it can mean one of them only"
                    )
        for example in self.out_of_scope:
            if _normal(example) in owner:
                raise ValueError(
                    f"{example!r} is out of scope and an example of {owner[_normal(example)]!r}; keep one of them"
                )
        return self


def _normal(text: str) -> str:
    return " ".join(text.lower().split())
