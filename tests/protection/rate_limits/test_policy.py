import pytest
from hypothesis import given
from hypothesis import strategies as st

from handrail.protection.rate_limits import decide


def _allow(times: list[float], interval: float, burst: int) -> list[float]:
    """The times at which a turn was allowed."""
    full_at, allowed = 0.0, list[float]()
    for now in times:
        decision, full_at = decide(full_at, now, interval, burst)
        if decision.allowed:
            allowed.append(now)
    return allowed


class TestDecide:
    def test_gives_somebody_new_the_whole_burst_and_no_more(self) -> None:
        assert len(_allow([100.0] * 10, 1.0, 3)) == 3

    def test_gives_one_back_after_each_interval(self) -> None:
        assert _allow([0.0, 0.0, 0.999, 1.0, 1.5, 2.0], 1.0, 1) == [0.0, 1.0, 2.0]

    def test_counts_what_is_left_and_when_it_is_back(self) -> None:
        first, full_at = decide(0.0, 10.0, 2.0, 3)
        second, full_at = decide(full_at, 11.0, 2.0, 3)
        third, full_at = decide(full_at, 11.0, 2.0, 3)
        refused, after = decide(full_at, 11.0, 2.0, 3)

        assert first == (True, 3, 2, 2.0, 0.0)
        assert second == (True, 3, 1, 3.0, 0.0)
        assert third == (True, 3, 0, 5.0, 0.0)
        assert refused == (False, 3, 0, 5.0, 1.0)
        assert after == full_at, "asking again must not cost anything"

    @pytest.mark.parametrize("rate", [0.1, 1, 7, 59, 60, 61, 1000, 1e6])
    def test_allows_again_exactly_when_it_said(self, rate: float) -> None:
        interval, full_at = 60 / rate, 0.0
        for _ in range(5):
            _, full_at = decide(full_at, 1e6, interval, 5)
        refused, _ = decide(full_at, 1e6, interval, 5)

        early, _ = decide(full_at, 1e6 + refused.retry_after_seconds * 0.99, interval, 5)
        on_time, _ = decide(full_at, 1e6 + refused.retry_after_seconds, interval, 5)

        assert (refused.allowed, early.allowed, on_time.allowed) == (False, False, True)

    @given(
        st.lists(st.floats(0, 5), min_size=1, max_size=60),
        st.floats(0.01, 3),
        st.integers(1, 6),
    )
    def test_never_allows_more_in_any_window_than_the_burst_and_the_rate_give(
        self, gaps: list[float], interval: float, burst: int
    ) -> None:
        times, now = list[float](), 1000.0
        for gap in gaps:
            now += gap
            times.append(now)

        allowed = _allow(times, interval, burst)

        for i, start in enumerate(allowed):
            for j in range(i, len(allowed)):
                assert j - i + 1 <= burst + (allowed[j] - start) / interval + 1e-6
