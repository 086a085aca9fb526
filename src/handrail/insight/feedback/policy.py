"""What counts as feedback, as a value and as a verdict. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from handrail.core.errors import UsageError
from handrail.core.money import USD, in_usd

FeedbackKind = Literal["thumb", "csat", "nps", "text", "resolved"]
Sample = Literal["routine", "policy"]

# Each kind's own scale; words have none.
SCALES: Mapping[FeedbackKind, tuple[int, ...]] = MappingProxyType(
    {"thumb": (-1, 1), "csat": (1, 2, 3, 4, 5), "nps": tuple(range(11)), "resolved": (0, 1), "text": ()}
)


class InvalidFeedback(UsageError):
    """It is not on its scale, says nothing, or is in money that this deployment does not count in."""

    code = "invalid_feedback"


@dataclass(frozen=True, slots=True)
class FeedbackRules:
    """Deployment settings: whether the chat page asks for a rating, the one currency of value events, and what one unit
    of it is in US dollars, where somebody says so."""

    csat: bool = False
    currency: str = USD
    usd: float | None = None

    @property
    def not_comparable(self) -> str | None:
        """Why values can't be netted with costs, and what to do; nothing when they can."""
        if in_usd(self.currency, self.usd) is not None:
            return None
        return (
            f"costs are in {USD}, value in {self.currency}; set HANDRAIL_FEEDBACK__USD to what one {self.currency} is "
            "in US dollars"
        )


def require_score(kind: FeedbackKind, score: int | None, comment: str | None) -> None:
    """Raise `InvalidFeedback` unless the score is one of the kind's scale; words need no score, but words."""
    scale = SCALES[kind]
    if not scale:
        if score is not None:
            raise InvalidFeedback(f"feedback in words has no score (got {score}); leave it out", param="score")
        if comment is None:
            raise InvalidFeedback("feedback of kind 'text' needs a comment", param="comment")
    elif score not in scale:
        wanted = " or ".join(map(str, scale)) if len(scale) < 3 else f"{scale[0]} to {scale[-1]}"
        raise InvalidFeedback(f"the score of {kind!r} is {wanted}, not {score}", param="score")


def require_amount(amount_micros: int | None, currency: str | None, rules: FeedbackRules) -> None:
    """Raise `InvalidFeedback` for an amount without its currency, or in one that can't be summed with the others."""
    if (amount_micros is None) != (currency is None):
        raise InvalidFeedback("give 'amount_micros' and 'currency' together, or neither", param="currency")
    if currency is not None and currency != rules.currency:
        raise InvalidFeedback(
            f"values are counted in {rules.currency} here, not in {currency!r}; convert it, or set "
            "HANDRAIL_FEEDBACK__CURRENCY",
            param="currency",
        )


def require_verdict(*findings: bool | None) -> None:
    """Raise `InvalidFeedback` for a review that found nothing out."""
    if all(each is None for each in findings):
        raise InvalidFeedback(
            "a verdict says at least one of 'intent_correct', 'hallucination', 'action_correct', 'resolved'"
        )
