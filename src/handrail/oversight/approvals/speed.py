"""How fast people decide, so that approving without looking shows. Pure."""

import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

HASTY_SECONDS = 3.0


class Cast(NamedTuple):
    """One yes or no, and when the approval it answered was made; in microseconds."""

    voter: str
    at: int
    asked_at: int


@dataclass(frozen=True, slots=True)
class DecisionSpeed:
    """One approver's pace. `hasty_share` is the share of decisions taken in less than three seconds."""

    voter: str
    decisions: int
    median_seconds: float
    hasty_share: float


def decision_speeds(casts: Iterable[Cast]) -> list[DecisionSpeed]:
    """Each approver's pace, the hastiest first.

    A decision begins when it was asked for, or when the same person had decided the one before. Measured from the
    asking alone, a queue clicked away in a row would look like long thought. What is decided in one moment (a batch of
    identical ones, with one `now`) is one decision.
    """
    by_voter: dict[str, dict[int, int]] = {}
    for cast in casts:
        moments = by_voter.setdefault(cast.voter, {})
        moments[cast.at] = min(cast.asked_at, moments.get(cast.at, cast.asked_at))
    speeds = [_speed(voter, moments) for voter, moments in by_voter.items()]
    return sorted(speeds, key=lambda each: (-each.hasty_share, each.median_seconds, each.voter))


def _speed(voter: str, moments: dict[int, int]) -> DecisionSpeed:
    seconds: list[float] = []
    before: int | None = None
    for at, asked_at in sorted(moments.items()):
        began = asked_at if before is None else max(asked_at, before)
        seconds.append(max(0, at - began) / 1_000_000)
        before = at
    hasty = sum(each < HASTY_SECONDS for each in seconds)
    return DecisionSpeed(voter, len(seconds), statistics.median(seconds), hasty / len(seconds))
