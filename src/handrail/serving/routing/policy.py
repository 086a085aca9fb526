"""Whether to act on a prediction, ask first, ask which, or hand over. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

Action = Literal["execute", "confirm", "clarify", "handoff"]
CHOICES = 2
# The second failure in a row goes to a person.
MOST_FAILURES = 1


class Ranked(Protocol):
    """What a decision needs of a prediction."""

    @property
    def intent(self) -> str: ...
    @property
    def confidence(self) -> float: ...
    @property
    def ranked(self) -> tuple[tuple[str, float], ...]: ...


@dataclass(frozen=True, slots=True)
class Thresholds:
    """A confidence must be *above* these. `execute` may not lie below `confirm`."""

    execute: float = 0.9
    confirm: float = 0.6

    def __post_init__(self) -> None:
        if not 0 <= self.confirm <= self.execute <= 1:
            raise ValueError(
                f"thresholds must satisfy 0 <= confirm <= execute <= 1, and confirm is {self.confirm!r} and execute "
                f"{self.execute!r}; change one of them"
            )

    def overridden(self, execute: float | None = None, confirm: float | None = None) -> "Thresholds":
        """An intent's own thresholds where it has them, else these. The other one gives way to keep the order."""
        if execute is not None and confirm is not None:
            return Thresholds(execute, confirm)
        if execute is not None:
            return Thresholds(execute, min(self.confirm, execute))
        if confirm is not None:
            return Thresholds(max(self.execute, confirm), confirm)
        return self


@dataclass(frozen=True, slots=True)
class Decision:
    """What happens to the turn, and why. `choices` are the intents to offer when clarifying."""

    action: Action
    intent: str
    confidence: float
    choices: tuple[str, ...]
    reason: str


def decide(
    prediction: Ranked,
    thresholds: Thresholds,
    failures: int = 0,
    per_intent: Mapping[str, Thresholds] | None = None,
) -> Decision:
    """Routes one message. `failures` counts the messages in a row, before this one, that were not understood."""
    limits = (per_intent or {}).get(prediction.intent, thresholds)
    sure = f"{prediction.intent!r} at {prediction.confidence:.3f}"
    if prediction.confidence > limits.execute:
        return _decision("execute", prediction, f"{sure} is above {limits.execute:g}")
    if prediction.confidence > limits.confirm:
        return _decision("confirm", prediction, f"{sure} is above {limits.confirm:g} but not {limits.execute:g}")
    lost = f"{sure} is not above {limits.confirm:g}"
    if failures >= MOST_FAILURES:
        return _decision("handoff", prediction, f"{lost}, and neither was the message before")
    choices = tuple(intent for intent, _ in prediction.ranked[:CHOICES])
    return _decision("clarify", prediction, lost, choices)


def _decision(action: Action, prediction: Ranked, reason: str, choices: tuple[str, ...] = ()) -> Decision:
    return Decision(action, prediction.intent, prediction.confidence, choices, reason)
