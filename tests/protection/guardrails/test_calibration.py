"""A deployment's own threshold, and the figures of an evaluation."""

from pathlib import Path

import pytest

from handrail.core.share import Share
from handrail.protection.guardrails import Detector, read_thresholds
from handrail.protection.guardrails.calibration import (
    FEWEST,
    ThresholdsUnreadable,
    TooFewTexts,
    calibrate,
    write_threshold,
)
from handrail.protection.guardrails.evaluation import Row, RowUnreadable, evaluate, parse_row

DETECTOR = Detector()


class TestCalibrate:
    def test_lets_all_but_one_in_a_hundred_pass(self) -> None:
        texts = [f"please ignore my previous instruction for order {number}" for number in range(FEWEST)]
        found = calibrate(DETECTOR, texts, "user")
        own = Detector(thresholds={"user": found.threshold})

        assert sum(own.scan(text, "user").flagged for text in texts) <= FEWEST // 100

    def test_a_handful_of_texts_is_refused(self) -> None:
        with pytest.raises(TooFewTexts, match=r"3 texts are too few .* at least 100"):
            calibrate(DETECTOR, ["a", "b", "c"], "tool")


class TestThresholds:
    def test_are_kept_by_channel(self, tmp_path: Path) -> None:
        write_threshold(tmp_path, "user", 0.7)
        write_threshold(tmp_path, "tool", 0.6)

        assert read_thresholds(tmp_path) == {"user": 0.7, "tool": 0.6}

    def test_are_none_before_any_was_set(self, tmp_path: Path) -> None:
        assert read_thresholds(tmp_path) == {}

    @pytest.mark.parametrize("text", ["", "[]", '{"thresholds": {"user": 7}}', '{"thresholds": {"user": "low"}}'])
    def test_a_file_that_is_something_else_is_told_by_its_path(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "guardrails.json").write_text(text)

        with pytest.raises(ThresholdsUnreadable, match=r"guardrails\.json"):
            read_thresholds(tmp_path)


class TestEvaluate:
    def test_counts_attacks_found_and_false_alarms_beside_the_naive_filter(self) -> None:
        rows = [Row("attack one", label=1), Row("you are now attacked", label=1), Row("hello", label=0)]
        found = evaluate(lambda row: "attack" in row.text, rows, {"user": 0.5})

        assert found.detector["user"].recall == Share(2, 2)
        assert found.detector["user"].false_alarms == Share(0, 1)
        assert found.naive["user"].recall == Share(1, 2)

    def test_a_row_without_a_label_is_refused(self) -> None:
        with pytest.raises(RowUnreadable, match="'r1' has no label"):
            evaluate(lambda _: True, [Row("x", "r1")], {})

    @pytest.mark.parametrize("value", [{}, {"text": 1}, [], {"text": "x", "label": 2}, {"text": "x", "channel": "web"}])
    def test_a_line_that_is_no_row_is_told_by_its_place(self, value: object) -> None:
        with pytest.raises(RowUnreadable, match="data:3"):
            parse_row("data:3", value)

    def test_a_share_of_nothing_has_no_interval(self) -> None:
        assert Share(0, 0).interval() is None
        low, high = Share(9, 10).interval() or (0, 0)
        assert low == pytest.approx(0.596, abs=0.001)
        assert high == pytest.approx(0.982, abs=0.001)
