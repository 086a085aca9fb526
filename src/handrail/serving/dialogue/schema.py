"""What a `flows/*.yaml` file may say."""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints, model_validator

VERBS = ("collect", "call", "say", "if", "confirm", "answer", "handoff", "end")
_MODIFIERS = {
    "with": ("call",),
    "save": ("call",),
    "on_error": ("call",),
    "stale": ("call",),
    "then": ("if",),
    "else": ("if", "confirm", "answer"),
}
_FROM_TEXT = ("integer", "number", "date", "choice")
# No step jumps back, so this bounds the work of one turn as well.
MAX_STEPS = 200

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)]
SlotType = Literal["string", "integer", "number", "boolean", "date", "choice"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=False)


class Slot(_Strict):
    """A value the flow needs from the user."""

    type: SlotType = "string"
    ask: str = Field(min_length=1, description="The question, a template.")
    hint: str | None = Field(None, description="Said in place of the question when the answer is no such value.")
    pattern: str | None = Field(None, description="A regular expression that finds the value in what the user wrote.")
    case: Literal["keep", "upper", "lower"] = Field("keep", description="How a string is stored.")
    choices: list[str] = Field(default_factory=list, description="The values of a choice.")
    optional: bool = Field(False, description="The user may skip the question.")
    default: JsonValue = Field(None, description="The value of an optional slot that was skipped.")
    from_message: bool = Field(False, description="Look for the value in the message that started the flow.")

    @model_validator(mode="after")
    def _fits_its_type(self) -> Self:
        if self.pattern is not None:
            _require_pattern(self.pattern)
            if self.type != "string":
                raise ValueError(f"'pattern' is for strings, not for type {self.type!r}; remove one of them")
        if (self.type == "choice") != bool(self.choices):
            raise ValueError("a slot of type 'choice' has 'choices', and no other slot has; give both or neither")
        if self.from_message and not (self.pattern or self.type in _FROM_TEXT):
            raise ValueError(
                "'from_message' needs a way to find the value; give a 'pattern', or a type of " + ", ".join(_FROM_TEXT)
            )
        if self.default is not None and not self.optional:
            raise ValueError("'default' is the value of a skipped slot; add 'optional: true' or remove it")
        return self


class AnswerFrom(_Strict):
    """Where an extractive answer comes from: all knowledge, or one file of it."""

    knowledge: Literal[True] | str = True
    query: str | None = Field(None, description="A template; the message that started the flow when left out.")


class HandoffTo(_Strict):
    """Why, and to whom, the flow gives the conversation away."""

    reason: str = Field(min_length=1, description="For the people who take over, a template.")
    team: str | None = None


class Step(_Strict):
    """One step: exactly one verb, and what belongs to it."""

    collect: Name | None = Field(None, description="Ask for a slot that has no value yet.")
    call: str | None = Field(None, description="Call a tool.")
    with_: dict[str, JsonValue] = Field(
        default_factory=dict, alias="with", description="Arguments; texts are templates."
    )
    save: Name | None = Field(None, description="The name under which the result is known from here on.")
    on_error: list["Step"] | None = Field(None, description="Played instead of the rest when the call fails.")
    stale: str | None = Field(
        None, description="Said when the tool can't be reached and its last good value is used; a template with `age`."
    )
    say: str | None = Field(None, description="Say a template.")
    if_: str | None = Field(None, alias="if", description="A CEL condition over slots and saved results.")
    then: list["Step"] | None = Field(None, description="Played when the condition holds.")
    else_: list["Step"] | None = Field(
        None,
        alias="else",
        description="After `if`: when it does not hold. After `confirm` and `answer`: played instead of the rest.",
    )
    confirm: str | None = Field(None, description="A yes/no question, a template; the rest needs a yes.")
    answer: AnswerFrom | None = Field(None, description="Answer in the words of the knowledge, with the source.")
    handoff: HandoffTo | None = Field(None, description="Give the conversation to people; ends the flow.")
    end: Literal[True] | None = Field(None, description="End the flow here.")

    @model_validator(mode="before")
    @classmethod
    def _end_may_stand_alone(cls, data: Any) -> Any:
        return {"end": True} if data == "end" else data

    @model_validator(mode="after")
    def _has_one_verb(self) -> Self:
        given = {name.removesuffix("_") for name in self.model_fields_set}
        verbs = [verb for verb in VERBS if verb in given]
        if len(verbs) != 1:
            raise ValueError(f"a step has exactly one of {', '.join(VERBS)}; this one has {', '.join(verbs) or 'none'}")
        for modifier in sorted(given & _MODIFIERS.keys()):
            if verbs[0] not in _MODIFIERS[modifier]:
                owners = " or ".join(repr(verb) for verb in _MODIFIERS[modifier])
                raise ValueError(f"{modifier!r} belongs to {owners}, not to {verbs[0]!r}; move or remove it")
        if verbs[0] == "if" and self.then is None:
            raise ValueError("'if' needs 'then'; add the steps to play when the condition holds")
        return self

    @property
    def verb(self) -> str:
        return next(verb for verb in VERBS if verb in {name.removesuffix("_") for name in self.model_fields_set})

    def branches(self) -> dict[str, list["Step"]]:
        """The steps inside this step, by the key they stand under."""
        inside = {"then": self.then, "else": self.else_, "on_error": self.on_error}
        return {key: steps for key, steps in inside.items() if steps}


class FlowFile(_Strict):
    """A dialogue flow: the slots it fills and the steps it takes, from top to bottom."""

    name: Name
    description: str = ""
    slots: dict[Name, Slot] = Field(default_factory=dict)
    steps: list[Step] = Field(min_length=1)

    @model_validator(mode="after")
    def _is_not_endless(self) -> Self:
        count = _count(self.steps)
        if count > MAX_STEPS:
            raise ValueError(f"a flow has at most {MAX_STEPS} steps, this one has {count}; split it")
        return self


def _count(steps: list[Step]) -> int:
    return sum(1 + sum(_count(inside) for inside in step.branches().values()) for step in steps)


def _require_pattern(pattern: str) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r} is not a regular expression: {error}; mend the pattern") from error
