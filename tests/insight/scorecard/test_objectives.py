"""How much error budget is left, and when it burns too fast."""

import pytest

from handrail.insight.scorecard.objectives import WINDOWS, ErrorBudget, burns


class TestErrorBudget:
    def test_is_used_up_by_exactly_what_the_objective_allows(self) -> None:
        budget = ErrorBudget(0.99, total=1000, bad=10)
        assert budget.left == pytest.approx(0)
        assert budget.burn_rate == pytest.approx(1)

    def test_goes_below_nought_when_the_objective_is_missed(self) -> None:
        assert ErrorBudget(0.99, 1000, 30).left == pytest.approx(-2)

    def test_is_unknown_when_nothing_happened(self) -> None:
        assert ErrorBudget(0.99, 0, 0).left is None


class TestBurns:
    def test_needs_both_windows(self) -> None:
        (fast,) = burns(0.995, {3600: (1000, 100), 300: (100, 0)})
        assert not fast.is_too_fast
        (fast,) = burns(0.995, {3600: (1000, 100), 300: (100, 10)})
        assert fast.is_too_fast
        assert (fast.long_seconds, fast.factor, fast.long_rate) == (3600, 14.4, pytest.approx(20))

    def test_finds_a_slow_burn_that_the_fast_windows_miss(self) -> None:
        windows = {3600: (100, 1), 300: (10, 0), 6 * 3600: (600, 20), 1800: (50, 2)}
        assert [each.is_too_fast for each in burns(0.995, windows)] == [False, True]

    def test_knows_no_rate_without_traffic(self) -> None:
        (fast,) = burns(0.995, {3600: (0, 0), 300: (0, 0)})
        assert (fast.long_rate, fast.is_too_fast) == (None, False)

    def test_leaves_out_windows_that_are_not_told(self) -> None:
        assert burns(0.995, {}) == []
        assert len(burns(0.995, {each: (1, 0) for pair in WINDOWS for each in pair[:2]})) == len(WINDOWS)
