"""How fast people decide, so that approving without looking shows. Pure."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

HASTY_SECONDS = 3.0


class Cast(NamedTuple):
    """One yes or no, and when the voter first saw the approval (else: when it was asked for); in microseconds."""

    voter: str
    at: int
    shown_at: int
    says_yes: bool = True


@dataclass(frozen=True, slots=True)
class DecisionSpeed:
    """One approver's pace. `hasty_share` is the share of decisions taken in less than `hasty_seconds`."""

    voter: str
    decisions: int
    approved_share: float
    median_seconds: float
    p10_seconds: float
    hasty_share: float
    hasty_seconds: float = HASTY_SECONDS

    def body(self) -> dict[str, Any]:
        """As the API shows it."""
        return {
            "object": "approver",
            "subject": self.voter,
            "decisions": self.decisions,
            "approved_share": round(self.approved_share, 4),
            "median_seconds": round(self.median_seconds, 3),
            "p10_seconds": round(self.p10_seconds, 3),
            "hasty_share": round(self.hasty_share, 4),
            "hasty_seconds": self.hasty_seconds,
        }


def decision_speeds(casts: Iterable[Cast], hasty_seconds: float = HASTY_SECONDS) -> list[DecisionSpeed]:
    """Each approver's pace, the hastiest first.

    A decision begins when the approval was first shown to that person, or when the same person had decided the one
    before. Measured from the showing alone, a queue clicked away in a row would look like long thought. What is decided
    in one moment (a batch of identical ones, with one `now`) is one decision.
    """
    by_voter: dict[str, dict[int, Cast]] = {}
    for cast in casts:
        moments = by_voter.setdefault(cast.voter, {})
        known = moments.get(cast.at, cast)
        moments[cast.at] = cast._replace(shown_at=min(cast.shown_at, known.shown_at))
    speeds = [
        _speed(voter, [moments[at] for at in sorted(moments)], hasty_seconds) for voter, moments in by_voter.items()
    ]
    return sorted(speeds, key=lambda each: (-each.hasty_share, each.median_seconds, each.voter))


def _speed(voter: str, casts: Sequence[Cast], hasty_seconds: float) -> DecisionSpeed:
    seconds: list[float] = []
    before = 0
    for cast in casts:
        seconds.append(max(0, cast.at - max(cast.shown_at, before)) / 1_000_000)
        before = cast.at
    return DecisionSpeed(
        voter,
        len(seconds),
        sum(cast.says_yes for cast in casts) / len(casts),
        statistics.median(seconds),
        sorted(seconds)[(len(seconds) - 1) // 10],
        sum(each < hasty_seconds for each in seconds) / len(seconds),
        hasty_seconds,
    )
