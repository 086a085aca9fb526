import math
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from handrail.insight.scorecard.histogram import RELATIVE_ERROR, bucket_of, percentile, value_of

DAY_MICROS = 24 * 3600 * 1_000_000
TIMES = st.integers(min_value=1000, max_value=DAY_MICROS)


@given(TIMES)
def test_a_bucket_stands_for_its_times_within_the_stated_error(micros: int) -> None:
    assert abs(value_of(bucket_of(micros)) - micros) <= RELATIVE_ERROR * micros + 1


def test_all_up_to_a_millisecond_is_one_bucket() -> None:
    assert {bucket_of(micros) for micros in (0, 1, 999, 1000)} == {0}
    assert value_of(0) == 1000


def test_a_day_is_in_bucket_183() -> None:
    assert bucket_of(DAY_MICROS) == 183


class TestPercentile:
    @given(st.lists(TIMES, min_size=1, max_size=200), st.floats(min_value=0.01, max_value=1.0))
    def test_is_within_the_stated_error_of_the_exact_one(self, times: list[int], share: float) -> None:
        exact = sorted(times)[max(1, math.ceil(share * len(times))) - 1]
        found = percentile(Counter(bucket_of(each) for each in times), share)
        assert found is not None
        assert abs(found - exact) <= RELATIVE_ERROR * exact + 1

    @given(st.lists(TIMES, max_size=50), st.lists(TIMES, min_size=1, max_size=50))
    def test_of_merged_counts_is_that_of_all(self, left: list[int], right: list[int]) -> None:
        together = Counter(bucket_of(each) for each in left) + Counter(bucket_of(each) for each in right)
        assert percentile(together, 0.95) == percentile(Counter(bucket_of(each) for each in left + right), 0.95)

    def test_of_nothing_is_not_known(self) -> None:
        assert percentile({}, 0.5) is None
