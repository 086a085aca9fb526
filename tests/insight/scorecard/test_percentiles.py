"""Percentiles say how sure they are, whatever times are distributed like."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from handrail.insight.scorecard import NOTHING, percentile_of
from handrail.insight.scorecard.histogram import bucket_of, edges_of
from handrail.insight.scorecard.percentiles import MOST_EXACT, bucket_at, distance, ranks

SHARES = st.sampled_from([0.5, 0.95, 0.99])
TIMES = st.lists(st.integers(1, 10**11), min_size=1, max_size=80)


@given(st.integers(1, 2 * MOST_EXACT), SHARES)
def test_ranks_are_those_of_the_binomial_distribution(total: int, share: float) -> None:
    below, above = ranks(total, share)
    held = stats.binom.cdf(above - 1, total, share) - stats.binom.cdf(below - 1, total, share)
    assert held >= (0.95 if total <= MOST_EXACT else 0.945)
    if total <= MOST_EXACT:
        assert stats.binom.cdf(below, total, share) >= 0.025 - 1e-9


@given(TIMES, st.data())
def test_a_rank_is_found_in_its_bucket(times: list[int], data: st.DataObject) -> None:
    rank = data.draw(st.integers(1, len(times)))
    low, high = edges_of(bucket_at(Counter(map(bucket_of, times)), rank))
    assert low * (1 - 1e-9) <= sorted(times)[rank - 1] <= high * (1 + 1e-9)


@pytest.mark.parametrize("share", [0.5, 0.95])
def test_the_interval_holds_the_truth_as_often_as_it_says(share: float) -> None:
    rng, truth = np.random.default_rng(11), stats.lognorm(0.8, scale=2.0).ppf(share)
    held = 0
    for _ in range(400):
        times = rng.lognormal(np.log(2.0), 0.8, 300) * 1e6
        found = percentile_of(Counter(bucket_of(int(each)) for each in times), share)
        assert found.low is not None
        assert found.high is not None
        held += found.low <= truth <= found.high
    assert held / 400 >= 0.94


def test_has_no_interval_where_the_sample_can_not_give_one() -> None:
    few = percentile_of({40: 60}, 0.99)
    assert (few.n, few.low, few.high) == (60, None, None)
    assert few.value is not None
    assert percentile_of({40: 400}, 0.99).high is not None
    assert percentile_of({}, 0.5) is NOTHING


def test_two_times_that_differ_by_less_than_the_error_of_a_bucket_do_not_differ() -> None:
    fine = distance(percentile_of({40: 5000}, 0.5), percentile_of({41: 5000}, 0.5))
    assert fine.low is not None
    assert fine.high is not None
    assert fine.low < 0 <= fine.high
    clear = distance(percentile_of({60: 5000}, 0.5), percentile_of({40: 5000}, 0.5))
    assert clear.low is not None
    assert clear.low > 0
