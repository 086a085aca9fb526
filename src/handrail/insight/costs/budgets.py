"""What is spent of a budget, and what it comes to if it goes on like this. Pure; nothing here stops anybody.

A forecast adds to what is spent what is still to come: the mean of the last complete days, by weekday once there are
two weeks of them. Its range holds what eight of ten such periods would come to if days went on to differ as they did.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from statistics import mean, stdev
from typing import Any

from handrail.core.money import USD
from handrail.core.prices import Budget

# Weeks that are long past say little of the next one.
MOST_DAYS = 28
FEWEST_DAYS = 3
DAYS_FOR_WEEKDAYS = 14
# Eight of ten, of a normal distribution.
WIDTH = 1.28


@dataclass(frozen=True, slots=True)
class Forecast:
    """What the period comes to; without a range when too few days are known.

    Attributes:
        to_come: what is expected of the rest of today and of each day after it.
    """

    expected_micros: int
    low_micros: int | None
    high_micros: int | None
    basis: str
    to_come: Sequence[tuple[date, float]] = ()


@dataclass(frozen=True, slots=True)
class BudgetStatus:
    """One budget on a day. Calls without a price are in no sum: with any, more is spent than is said.

    Attributes:
        reached_on: the day on which all of it was spent, or will be at this pace; None when that is not in its period.
    """

    budget: Budget
    since: date
    until: date
    spent_micros: int
    unpriced_calls: int
    forecast: Forecast | None
    reached_on: date | None = None

    def with_unpriced(self, calls: int) -> "BudgetStatus":
        return replace(self, unpriced_calls=calls)

    @property
    def used(self) -> float:
        return self.spent_micros / self.budget.micros

    def body(self) -> dict[str, Any]:
        forecast = self.forecast
        return {
            "object": "budget",
            "name": self.budget.name,
            "tenant": self.budget.tenant,
            "agent": self.budget.agent,
            "period": self.budget.period,
            "since": self.since.isoformat(),
            "until": self.until.isoformat(),
            "budget_micros": self.budget.micros,
            "spent_micros": self.spent_micros,
            "used": round(self.used, 6),
            "currency": USD,
            "unpriced_calls": self.unpriced_calls,
            "reached_on": None if self.reached_on is None else self.reached_on.isoformat(),
            "forecast": None
            if forecast is None
            else {
                "expected_micros": forecast.expected_micros,
                "low_micros": forecast.low_micros,
                "high_micros": forecast.high_micros,
                "basis": forecast.basis,
            },
        }


def period_of(budget: Budget, today: date) -> tuple[date, date]:
    """The first day of the period that `today` is in, and the first after it (UTC)."""
    if budget.period == "day":
        return today, today + timedelta(days=1)
    first = today.replace(day=1)
    return first, (first + timedelta(days=32)).replace(day=1)


def status_of(budget: Budget, daily: Mapping[date, int], today: date, share_of_today: float) -> BudgetStatus:
    """Where a budget stands.

    Args:
        daily: what was spent on each day; a day that is missing spent nothing.
        share_of_today: how much of today is over, from 0 to 1.
    """
    since, until = period_of(budget, today)
    spent = sum(micros for day, micros in daily.items() if since <= day < until)
    forecast = forecast_of(daily, today, share_of_today, until, spent)
    in_period = sorted((day, float(micros)) for day, micros in daily.items() if since <= day < until)
    to_come = forecast.to_come if forecast else ()
    return BudgetStatus(budget, since, until, spent, 0, forecast, _reached_on(budget.micros, [*in_period, *to_come]))


def _reached_on(limit: int, days: Iterable[tuple[date, float]]) -> date | None:
    """The first day by which so much is spent."""
    spent = 0.0
    for day, micros in days:
        spent += micros
        if spent >= limit:
            return day
    return None


def forecast_of(
    daily: Mapping[date, int], today: date, share_of_today: float, until: date, spent: int
) -> Forecast | None:
    """What is spent by `until`; None as long as there is nothing to go by."""
    known = _complete_days(daily, today)
    to_come = [(1.0 - share_of_today, today), *((1.0, day) for day in _days(today + timedelta(days=1), until))]
    if len(known) < FEWEST_DAYS:
        return _by_pace(daily, known, today, share_of_today, to_come, spent)
    average = mean(known.values())
    weights = _weekday_weights(known, average) if len(known) >= DAYS_FOR_WEEKDAYS else [1.0] * 7
    expected = [(day, part * average * weights[day.weekday()]) for part, day in to_come]
    left = sum(micros for _, micros in expected)
    spread = stdev(value - average * weights[day.weekday()] for day, value in known.items())
    days_left = sum(part for part, _ in to_come)
    # The days to come differ from one another, and the mean itself is known from so many days only.
    width = WIDTH * spread * math.sqrt(days_left + days_left**2 / len(known))
    basis = f"the last {len(known)} days{', by weekday' if len(known) >= DAYS_FOR_WEEKDAYS else ''}"
    low, high = spent + max(0, round(left - width)), spent + round(left + width)
    return Forecast(spent + round(left), low, high, basis, expected)


def _by_pace(
    daily: Mapping[date, int],
    known: Mapping[date, int],
    today: date,
    share_of_today: float,
    to_come: Sequence[tuple[float, date]],
    spent: int,
) -> Forecast | None:
    """A straight line through the little that is known; no range, for it would be made up."""
    over = len(known) + share_of_today
    so_far = sum(known.values()) + daily.get(today, 0)
    if over < 0.05 or not so_far:
        return None
    expected = [(day, part * so_far / over) for part, day in to_come]
    left = round(sum(micros for _, micros in expected))
    return Forecast(spent + left, None, None, f"the pace of the last {over:.1f} days", expected)


def _complete_days(daily: Mapping[date, int], today: date) -> dict[date, int]:
    """From the first day with any spending on, at most four weeks back; today is not over."""
    past = [day for day, micros in daily.items() if day < today and micros]
    if not past:
        return {}
    first = max(min(past), today - timedelta(days=MOST_DAYS))
    return {day: daily.get(day, 0) for day in _days(first, today)}


def _weekday_weights(known: Mapping[date, int], average: float) -> Sequence[float]:
    """How much of an average day each weekday is, drawn half-way to it: two Sundays are few."""
    if not average:
        return [1.0] * 7
    by_weekday: list[list[int]] = [[] for _ in range(7)]
    for day, value in known.items():
        by_weekday[day.weekday()].append(value)
    drawn = [(sum(values) / average + 2) / (len(values) + 2) for values in by_weekday]
    return [each / mean(drawn) for each in drawn]


def _days(first: date, end: date) -> Iterator[date]:
    for number in range((end - first).days):
        yield first + timedelta(days=number)
