"""Figures of an evaluation are counted as the reference says."""

import pytest

from handrail.core.share import Share
from handrail.protection.privacy import Kind, Span
from handrail.protection.privacy.evaluation import Row, RowUnreadable, evaluate, parse_row


class TestEvaluate:
    def test_counts_a_label_as_found_when_nine_tenths_of_it_are_covered(self) -> None:
        rows = [Row("0123456789", None, ((0, 10, "SSN"),))]

        assert evaluate(lambda _t, _p: [Span(0, 9, Kind.SSN, 1.0)], rows).recall == Share(1, 1)
        assert evaluate(lambda _t, _p: [Span(0, 8, Kind.SSN, 1.0)], rows).recall == Share(0, 1)

    def test_counts_a_find_as_right_when_it_overlaps_a_label(self) -> None:
        rows = [Row("0123456789", None, ((0, 3, "SSN"),))]

        told = evaluate(lambda _t, _p: [Span(2, 5, Kind.IP, 1.0), Span(6, 8, Kind.IP, 1.0)], rows)

        assert (told.precision, told.kinds["IP"][1]) == (Share(1, 2), Share(1, 2))

    def test_counts_flagged_rows_only_among_those_without_labels(self) -> None:
        rows = [Row("a"), Row("b"), Row("c", None, ((0, 1, "SSN"),))]

        told = evaluate(lambda text, _p: [Span(0, 1, Kind.IP, 1.0)] if text != "b" else [], rows)

        assert told.clean_flagged == Share(1, 2)

    def test_hands_the_previous_question_on(self) -> None:
        asked: list[str | None] = []

        evaluate(lambda _t, previous: asked.append(previous) or [], [Row("9999", "your ssn?")])

        assert asked == ["your ssn?"]

    def test_gives_an_interval_with_every_share_and_none_of_nothing(self) -> None:
        low, high = Share(9, 10).interval() or (0, 0)

        assert low == pytest.approx(0.596, abs=0.001)
        assert high == pytest.approx(0.982, abs=0.001)
        assert Share(0, 0).figures() == {"count": 0, "n": 0, "share": None, "interval": None}


class TestParseRow:
    @pytest.mark.parametrize(
        "value",
        [
            7,
            {},
            {"text": 3},
            {"text": "a", "previous": 4},
            {"text": "a", "spans": [[0, 2, "SSN"]]},
            {"text": "a", "spans": [[0, 1]]},
            {"text": "a", "spans": ["x"]},
        ],
    )
    def test_says_which_line_is_wrong(self, value: object) -> None:
        with pytest.raises(RowUnreadable, match=r"rows\.jsonl:3"):
            parse_row("rows.jsonl:3", value)
