"""A share never stands without its interval."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from handrail.core.share import Share, wilson


@given(st.integers(0, 500), st.integers(1, 500))
def test_a_share_lies_within_its_interval_which_is_wilsons(count: int, n: int) -> None:
    count = min(count, n)
    low, high = wilson(count / n, n)
    assert 0 <= low <= count / n + 1e-9
    assert count / n - 1e-9 <= high <= 1
    expected = stats.binomtest(count, n).proportion_ci(method="wilson")
    assert Share(count, n).interval() == (low, high) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_of_nothing_nothing_is_known() -> None:
    assert wilson(0.0, 0) == (0.0, 1.0)
    assert Share(0, 0).interval() is None
