from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handrail.core.prices import Budget
from handrail.insight.costs.budgets import forecast_of, period_of, status_of

MONTH = Budget(name="all", usd=Decimal(1000))
TODAY = date(2026, 3, 18)
DOLLAR = 1_000_000


def days_before(count: int, micros: int = DOLLAR) -> dict[date, int]:
    return {TODAY - timedelta(days=number): micros for number in range(1, count + 1)}


class TestPeriod:
    @pytest.mark.parametrize(
        ("today", "since", "until"),
        [
            (date(2026, 12, 31), date(2026, 12, 1), date(2027, 1, 1)),
            (date(2028, 2, 29), date(2028, 2, 1), date(2028, 3, 1)),
            (date(2026, 1, 1), date(2026, 1, 1), date(2026, 2, 1)),
        ],
    )
    def test_a_month_is_the_calendar_s(self, today: date, since: date, until: date) -> None:
        assert period_of(MONTH, today) == (since, until)

    def test_a_day_ends_at_midnight(self) -> None:
        daily = Budget(name="d", usd=Decimal(1), period="day")
        assert period_of(daily, TODAY) == (TODAY, TODAY + timedelta(days=1))


class TestForecast:
    def test_a_steady_month_goes_on_as_it_was(self) -> None:
        status = status_of(MONTH, days_before(28), TODAY, 0.0)
        assert status.spent_micros == 17 * DOLLAR
        assert status.forecast is not None
        assert status.forecast.expected_micros == 31 * DOLLAR
        assert status.forecast.low_micros == status.forecast.high_micros == 31 * DOLLAR

    def test_today_counts_as_far_as_it_is_over(self) -> None:
        half = status_of(MONTH, days_before(28) | {TODAY: DOLLAR // 2}, TODAY, 0.5).forecast
        assert half is not None
        assert half.expected_micros == 31 * DOLLAR

    def test_quiet_weekends_are_expected_to_be_quiet(self) -> None:
        daily = {day: 0 if day.weekday() >= 5 else DOLLAR for day in days_before(28)}
        friday = date(2026, 3, 20)
        known = {day + (friday - TODAY): micros for day, micros in daily.items()}
        known = {day: 0 if day.weekday() >= 5 else DOLLAR for day in known}
        forecast = forecast_of(known, friday, 1.0, friday + timedelta(days=3), 0)
        assert forecast is not None
        assert "by weekday" in forecast.basis
        assert forecast.expected_micros < 1.2 * DOLLAR

    def test_with_few_days_there_is_a_pace_and_no_range(self) -> None:
        forecast = forecast_of({TODAY: DOLLAR}, TODAY, 0.5, TODAY + timedelta(days=2), DOLLAR)
        assert forecast is not None
        assert (forecast.expected_micros, forecast.low_micros, forecast.high_micros) == (4 * DOLLAR, None, None)

    def test_out_of_nothing_nothing_is_forecast(self) -> None:
        assert forecast_of({}, TODAY, 0.5, TODAY + timedelta(days=2), 0) is None
        assert forecast_of({TODAY: 5}, TODAY, 0.01, TODAY + timedelta(days=2), 5) is None

    def test_it_is_reached_on_the_day_on_which_all_of_it_is_spent(self) -> None:
        def reached(dollars: int) -> date | None:
            budget = Budget(name="all", usd=Decimal(dollars))
            return status_of(budget, days_before(28), TODAY, 0.0).reached_on

        # A dollar a day from the first on; today is the eighteenth.
        assert reached(5) == date(2026, 3, 5)
        assert reached(17) == date(2026, 3, 17)
        assert reached(18) == TODAY
        assert reached(31) == date(2026, 3, 31)
        assert reached(32) is None
        assert status_of(MONTH, {}, TODAY, 0.5).reached_on is None

    @given(
        spent=st.lists(st.integers(0, 10**9), min_size=3, max_size=40),
        share=st.floats(0, 1),
        today=st.dates(date(2026, 1, 1), date(2027, 12, 31)),
    )
    def test_never_falls_below_what_is_spent_and_lies_in_its_range(
        self, spent: list[int], share: float, today: date
    ) -> None:
        daily = {today - timedelta(days=number): micros for number, micros in enumerate(spent)}
        status = status_of(MONTH, daily, today, share)
        if status.forecast is None:
            return
        assert status.forecast.expected_micros >= status.spent_micros
        is_reached = status.forecast.expected_micros >= MONTH.micros
        # Each day is rounded for itself in the sum.
        if abs(status.forecast.expected_micros - MONTH.micros) > 1:
            assert (status.reached_on is not None) == is_reached
        if status.reached_on is not None:
            assert status.since <= status.reached_on < status.until
            assert (status.reached_on < today) <= (status.used >= 1)
        if status.forecast.low_micros is not None and status.forecast.high_micros is not None:
            assert status.spent_micros <= status.forecast.low_micros
            assert status.forecast.low_micros <= status.forecast.expected_micros <= status.forecast.high_micros
