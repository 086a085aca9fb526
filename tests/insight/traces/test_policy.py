import pytest
from hypothesis import given
from hypothesis import strategies as st

from handrail.insight.traces import Sampling

LATE = "f" * 32
EARLY = "f" * 16 + "0" * 16


def keeps(share: float, trace_id: str = LATE, **other: object) -> bool:
    given: dict[str, object] = {"seconds": 0.1, "latency_class": "simple", "is_failed": False, "is_notable": False}
    return Sampling(share).keeps(trace_id, **given | other)  # type: ignore[arg-type]


class TestSampling:
    def test_keeps_all_unless_told_otherwise(self) -> None:
        assert keeps(1.0)

    def test_keeps_none_of_the_ordinary_at_zero(self) -> None:
        assert not keeps(0.0, EARLY)

    @pytest.mark.parametrize("why", [{"is_failed": True}, {"is_notable": True}, {"seconds": 0.6}])
    def test_always_keeps_what_failed_what_people_look_at_and_what_was_slow(self, why: dict[str, object]) -> None:
        assert keeps(0.0, **why)

    def test_measures_slow_by_the_class_of_the_turn(self) -> None:
        assert not keeps(0.0, seconds=1.9, latency_class="medium")
        assert keeps(0.0, seconds=2.1, latency_class="medium")
        assert not keeps(0.0, seconds=4.9, latency_class=None)

    @given(st.integers(0, 2**128 - 1), st.floats(0, 1), st.floats(0, 1))
    def test_what_a_small_share_keeps_a_larger_one_keeps_too(self, number: int, one: float, other: float) -> None:
        small, large = sorted((one, other))

        assert keeps(large, f"{number:032x}") or not keeps(small, f"{number:032x}")

    def test_keeps_about_its_share(self) -> None:
        ids = [f"{number * 0x9E3779B97F4A7C15 % 2**64:032x}" for number in range(1, 2001)]

        assert 0.2 < sum(keeps(0.25, each) for each in ids) / len(ids) < 0.3
