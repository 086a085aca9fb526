"""`guardrails:` in policies.yaml: what happens when a message or a tool's result is suspicious."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Action = Literal["allow", "flag", "escalate", "refuse"]
# An agent may have categories of its own; each needs words.
Category = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{1,39}$")]
Phrase = Annotated[str, StringConstraints(min_length=2, max_length=120, pattern=r"\w")]

Sentence = Annotated[str, StringConstraints(min_length=1, max_length=1000, strip_whitespace=True)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class InjectionPolicy(_Strict):
    """What happens to text that tries to instruct the model."""

    user: Action = Field(default="flag", description="A user's message.")
    tool: Literal["allow", "flag"] = Field(
        default="flag", description="A tool's result: it is labelled. What it may cause is decided at the tool's edge."
    )
    threshold: float | None = Field(
        default=None, gt=0, le=1, description="Score from which text is flagged, instead of the deployment's."
    )


class GuardrailsPolicy(_Strict):
    """Checks on what comes in. Everything is flagged and nothing is refused unless it says so here."""

    injection: InjectionPolicy = InjectionPolicy()
    content: dict[Category, Action] = Field(
        default_factory=dict[Category, Action], description="Category -> what happens; `flag` where nothing is said."
    )
    words: dict[Category, list[Phrase]] = Field(
        default_factory=dict[Category, list[Phrase]], description="Words and phrases besides those that ship."
    )
    answers: dict[Category | Literal["injection"], Sentence] = Field(
        default_factory=dict[str, Sentence],
        description="Category or `injection` -> what the user is told when it is refused or a person takes over.",
    )
    without: list[Phrase] = Field(default_factory=list[Phrase], description="Shipped phrases that are left out.")
