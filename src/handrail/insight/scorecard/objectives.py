"""Service level objectives: how much error budget is left, and how fast it burns.

Source of the windows and factors: Google's "The Site Reliability Workbook", chapter 5.
"""

from collections.abc import Mapping
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
class Burning:
    """A pair of windows that both burn faster than they may."""

    long_seconds: int
    short_seconds: int
    factor: float
    long_rate: float
    short_rate: float


def burning(objective: float, windows: Mapping[int, tuple[int, int]]) -> Burning | None:
    """The fastest pair of `WINDOWS` that burns too fast, from each window's (total, bad); `None` when none does."""
    for long, short, factor in WINDOWS:
        if long not in windows or short not in windows:
            continue
        rates = [ErrorBudget(objective, *windows[each]).burn_rate or 0.0 for each in (long, short)]
        if min(rates) >= factor:
            return Burning(long, short, factor, rates[0], rates[1])
    return None
