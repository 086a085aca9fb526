"""The statistics of the benchmark."""

import pytest

from bench.figures import Figure, over_rounds, percentile
from bench.report import Bar, bars, is_met, last_line, table
from bench.results import FLOOR, HANDRAIL, PEER, Results


class TestPercentile:
    def test_interpolates_between_the_nearest_ranks(self) -> None:
        assert percentile([4, 1, 3, 2], 50) == 2.5
        assert percentile(list(range(101)), 95) == 95

    def test_of_one_value_is_that_value(self) -> None:
        assert percentile([7], 95) == 7

    def test_of_nothing_is_an_error(self) -> None:
        with pytest.raises(ValueError, match="at least one value"):
            percentile([], 50)


class TestOverRounds:
    def test_gives_the_median_and_the_extreme_rounds(self) -> None:
        assert over_rounds([5, 1, 2]) == Figure(2, 1, 5)


class TestRatio:
    def test_is_taken_within_each_round(self) -> None:
        results = Results()
        # A slow second round halves both sides: the ratio must not see it.
        for handrail, peer in ((400, 100), (200, 50), (400, 100)):
            results.add("turns/s", HANDRAIL, handrail)
            results.add("turns/s", PEER, peer)
        assert results.ratio("turns/s", HANDRAIL, PEER) == Figure(4, 4, 4)

    def test_is_absent_when_one_side_was_not_measured(self) -> None:
        results = Results()
        results.add("turns/s", HANDRAIL, 400)
        assert results.ratio("turns/s", HANDRAIL, PEER) is None

    def test_is_absent_when_the_lower_side_is_not_positive(self) -> None:
        results = Results()
        results.add("added", HANDRAIL, 3)
        results.add("added", FLOOR, -0.1)
        assert results.ratio("added", HANDRAIL, FLOOR) is None


class TestBar:
    def test_passes_at_its_limit_and_fails_beyond_it(self) -> None:
        assert Bar("added ms", 6.0, 6).passed
        assert Bar("added ms", 6.01, 6).passed is False
        assert Bar("times", 4.0, 4, at_least=True).passed
        assert Bar("times", 3.99, 4, at_least=True).passed is False

    def test_without_a_measurement_neither_passes_nor_fails(self) -> None:
        assert Bar("times", None, 4, at_least=True).passed is None
        assert "not measured" in str(Bar("times", None, 4, at_least=True))


class TestReport:
    def test_one_error_fails_the_whole_bar(self) -> None:
        results = Results()
        assert is_met(bars(results, streams=1000, minutes=1))
        results.fail(HANDRAIL, ["wrong text"])
        assert not is_met(bars(results, streams=1000, minutes=1))

    def test_a_round_that_lost_one_stream_fails_even_when_the_median_did_not(self) -> None:
        results = Results()
        for completed in (1000, 1000, 999):
            results.add("streams completed", HANDRAIL, completed)
        assert not is_met(bars(results, streams=1000, minutes=1))

    def test_the_last_line_is_one_json_object_on_one_line(self) -> None:
        results = Results()
        results.add("turns/s, plain @16", HANDRAIL, 400)
        results.add("turns/s, plain @16", PEER, 100)
        line = last_line(results, bars(results, streams=1, minutes=1), {"rounds": 1})
        assert line.startswith('{"rounds":1,"passed":true')
        assert "\n" not in line
        assert '"handrail / pydantic-ai":{"turns/s, plain @16":{"median":4.0,"low":4.0,"high":4.0}}' in line

    def test_the_table_has_a_column_only_for_who_was_measured(self) -> None:
        results = Results()
        results.add("memory MB", HANDRAIL, 120)
        header = table(results).splitlines()[0]
        assert "handrail" in header
        assert "mock" not in header
