"""`guardrails:` in policies.yaml: what happens when a message or a tool's result is suspicious."""

from collections.abc import Mapping
from functools import cached_property
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


OutputAction = Literal["allow", "flag", "mask", "withhold", "refuse"]
Masking = Literal["allow", "flag", "mask", "refuse"]
Withholding = Literal["allow", "flag", "withhold", "refuse"]
Domain = Annotated[str, StringConstraints(pattern=r"^(?:[a-z0-9-]{1,63}\.){1,8}[a-z]{2,24}$")]


class OutputPolicy(_Strict):
    """Checks on what the agent says. `mask` puts a mark where it stood, `withhold` leaves the sentence out and has the
    answer go out sentence by sentence, `refuse` takes the whole answer back."""

    secrets: Masking = Field(default="mask", description="Keys, tokens, the deployment's secrets, canaries.")
    links: Masking = Field(default="mask", description="Links to unlisted domains that the model made up itself.")
    given_links: Masking = Field(
        default="flag", description="Links to unlisted domains, written as in a tool's result, document or message."
    )
    markup: Masking = Field(default="mask", description="Pictures of unlisted domains, tags that load or run.")
    personal_data: Withholding = Field(default="flag", description="Of people whom nothing in this conversation names.")
    instructions: Withholding = Field(default="flag", description="Ten words in a row of the agent's instructions.")
    grounding: Withholding = Field(
        default="flag", description="Numbers, dates, ids, quotes and names that the model was not given."
    )
    domains: list[Domain] = Field(
        default_factory=list[Domain],
        description="Listed with subdomains, besides those the project names.",
    )

    @cached_property
    def actions(self) -> Mapping[str, OutputAction]:
        """By check."""
        return self.model_dump(exclude={"domains"})


class GuardrailsPolicy(_Strict):
    """Checks on what comes in and goes out. What comes in is flagged and not refused unless it says so here."""

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
    output: OutputPolicy = OutputPolicy()
