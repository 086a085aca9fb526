"""Service level objectives: how much error budget is left, and how fast it burns.

Source of the windows and factors: Google's "The Site Reliability Workbook", chapter 5.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# (long window, short window, factor): both must burn at least so fast. At 14.4 a budget of 30 days is gone in two days.
WINDOWS = ((3600, 300, 14.4), (6 * 3600, 1800, 6.0), (3 * 86_400, 6 * 3600, 1.0))


@dataclass(frozen=True, slots=True)
class ErrorBudget:
    """What an objective allows in its window, and what is used up.

    Attributes:
        objective: the share that must be good, between 0 and 1.
        total, bad: what happened in the window.
    """

    objective: float
    total: int
    bad: int

    @property
    def allowed(self) -> float:
        """So many may be bad of so many."""
        return self.total * (1 - self.objective)

    @property
    def left(self) -> float | None:
        """The share of the budget that is left; below 0 when the objective is missed, `None` when nothing happened."""
        return None if not self.total else 1 - self.bad / self.allowed

    @property
    def burn_rate(self) -> float | None:
        """1 uses the budget up exactly at the end of the window."""
        return None if not self.total else self.bad / self.allowed


@dataclass(frozen=True, slots=True)
class Burn:
    """How fast a budget burns in a long window and in the end of it; a rate is `None` where nothing happened."""

    long_seconds: int
    short_seconds: int
    factor: float
    long_rate: float | None
    short_rate: float | None

    @property
    def is_too_fast(self) -> bool:
        """Both windows burn at least `factor` times as fast as they may."""
        return min(self.long_rate or 0.0, self.short_rate or 0.0) >= self.factor


def burns(objective: float, windows: Mapping[int, tuple[int, int]]) -> Sequence[Burn]:
    """The pairs of `WINDOWS`, the fastest first, from each window's (total, bad); without those that are not told."""
    return [
        Burn(long, short, factor, *(ErrorBudget(objective, *windows[each]).burn_rate for each in (long, short)))
        for long, short, factor in WINDOWS
        if long in windows and short in windows
    ]
