"""Intervals hold what they promise: checked by simulation and against scipy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from handrail.core.share import wilson
from handrail.insight.scorecard.statistics import (
    FEWEST,
    NOTHING,
    Estimate,
    Sums,
    difference,
    mean,
    share,
    t_quantile,
    weighted_share,
)

USERS = st.lists(st.integers(1, 6).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), min_size=1, max_size=60)


def covered(estimates: list[Estimate], truth: float) -> float:
    inside = [each.low is not None and each.high is not None and each.low <= truth <= each.high for each in estimates]
    return sum(inside) / len(inside)


class TestShare:
    def test_is_wilsons_when_every_user_came_once(self) -> None:
        found = share(Sums.of([(1, 1)] * 30 + [(0, 1)] * 70))
        expected = stats.binomtest(30, 100).proportion_ci(method="wilson")
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
        assert (found.value, found.n, found.clusters) == (0.3, 100, 100)

    def test_covers_the_truth_when_users_come_again_and_are_alike(self) -> None:
        rng = np.random.default_rng(7)
        estimates: list[Estimate] = []
        naive = 0
        for _ in range(2000):
            rates, visits = rng.beta(1.2, 2.8, 60), rng.integers(1, 12, 60)
            hits = rng.binomial(visits, rates)
            estimates.append(share(Sums.of(zip(map(float, hits), map(float, visits), strict=True))))
            low, high = wilson(hits.sum() / visits.sum(), visits.sum())
            naive += low <= 0.3 <= high
        assert covered(estimates, 0.3) >= 0.93
        # Counted per conversation the same data would promise too much, which is why it is not done.
        assert naive / 2000 < 0.85

    def test_of_a_few_is_not_enough_to_be_shown_as_a_share(self) -> None:
        found = share(Sums.of([(1, 1)] * 3))
        assert found.value == 1
        assert not found.is_enough
        assert found.low is not None
        assert found.low < 0.45
        assert share(Sums.of([(1, 1)] * FEWEST)).is_enough

    def test_counts_only_the_users_when_all_say_the_same(self) -> None:
        assert share(Sums.of([(5, 5)] * 10)).effective == 10

    def test_of_nothing_is_unknown(self) -> None:
        assert share(Sums()) == mean(Sums()) == weighted_share([]) == NOTHING

    @given(USERS)
    def test_lies_between_nought_and_one_around_its_value(self, users: list[tuple[int, int]]) -> None:
        found = share(Sums.of(users))
        assert found.value is not None
        assert found.low is not None
        assert found.high is not None
        assert 0 <= found.low <= found.value + 1e-9
        assert found.value - 1e-9 <= found.high <= 1
        assert found.effective <= found.n


class TestMean:
    def test_covers_the_truth_with_few_and_returning_users(self) -> None:
        rng = np.random.default_rng(3)
        estimates: list[Estimate] = []
        for _ in range(2000):
            levels, visits = rng.normal(4, 0.8, 25), rng.integers(1, 5, 25)
            totals = [float(rng.normal(level, 0.5, n).sum()) for level, n in zip(levels, visits, strict=True)]
            estimates.append(mean(Sums.of(zip(totals, map(float, visits), strict=True))))
        assert covered(estimates, 4.0) >= 0.93

    def test_of_one_user_has_no_interval(self) -> None:
        found = mean(Sums.of([(8, 2)]))
        assert (found.value, found.low, found.high) == (4, None, None)


class TestWeightedShare:
    def test_undoes_a_sample_that_looked_harder_at_the_bad_ones(self) -> None:
        rng = np.random.default_rng(11)
        estimates: list[Estimate] = []
        for _ in range(1000):
            is_bad = rng.random(2000) < 0.1
            looked = np.where(is_bad, 0.5, 0.05)
            seen = rng.random(2000) < looked
            pairs = zip(is_bad[seen], looked[seen], strict=True)
            estimates.append(weighted_share([(bool(bad), float(p))] for bad, p in pairs))
        assert covered(estimates, 0.1) >= 0.92
        values = [each.value for each in estimates if each.value is not None]
        assert float(np.mean(values)) == pytest.approx(0.1, abs=0.01)

    @pytest.mark.parametrize("probability", [0.0, -0.1, 1.1])
    def test_refuses_what_is_no_probability(self, probability: float) -> None:
        with pytest.raises(ValueError, match="inclusion probability"):
            weighted_share([[(True, probability)]])


class TestDifference:
    def test_covers_the_truth(self) -> None:
        rng = np.random.default_rng(5)
        found: list[Estimate] = []
        for _ in range(2000):
            now, before = rng.binomial(80, 0.6), rng.binomial(120, 0.5)
            found.append(
                difference(
                    share(Sums.of([(1, 1)] * now + [(0, 1)] * (80 - now))),
                    share(Sums.of([(1, 1)] * before + [(0, 1)] * (120 - before))),
                )
            )
        assert covered(found, 0.1) >= 0.94

    def test_from_nothing_is_unknown(self) -> None:
        assert difference(share(Sums.of([(1, 1)])), NOTHING) == NOTHING


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 5, 8, 20, 100, 1000])
def test_quantiles_of_students_t_are_scipys(degrees: int) -> None:
    assert t_quantile(degrees) == pytest.approx(stats.t.ppf(0.975, degrees), rel=0.02)
