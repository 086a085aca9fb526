"""What a `tests/*.yaml` file may say."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Expectation(_Strict):
    """What must be true of one answer; everything given must hold."""

    intent: str | None = Field(None, description="The intent that was recognised.")
    action: Literal["execute", "confirm", "clarify", "handoff"] | None = Field(
        None, description="What routing decided to do."
    )
    tool: str | None = Field(None, description="A tool that was called in this turn.")
    contains: list[str] = Field(default_factory=list, description="Texts in the answer; case does not matter.")
    excludes: list[str] = Field(default_factory=list, description="Texts that must not be in the answer.")

    @model_validator(mode="after")
    def _expects_something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("expects nothing; name an intent, an action, a tool or a text")
        return self


class TestTurn(_Strict):
    """One message of the user and what the answer must be like."""

    __test__ = False  # pytest would take the name for a test class

    user: str = Field(min_length=1)
    expect: Expectation


class TestFile(_Strict):
    """A conversation that a release must be able to hold."""

    __test__ = False

    name: str = Field(min_length=1)
    turns: list[TestTurn] = Field(min_length=1)
