import numpy as np
import pytest

from handrail.serving.routing import Example, IntentHead, evaluate
from handrail.serving.routing.evaluation import calibration_error, figures
from tests.serving.routing.utterances import STRANGE, examples


class TestFigures:
    def test_bands_are_open_below_and_closed_above(self) -> None:
        confidence = np.array([0.95, 0.9, 0.7, 0.6, 0.1])

        told = figures(confidence, np.array([True, False, True, True, False]), None)

        assert (told.coverage_above_0_9, told.coverage_0_6_to_0_9, told.coverage_below_0_6) == (0.2, 0.4, 0.4)
        assert (told.accuracy_above_0_9, told.accuracy_0_6_to_0_9, told.accuracy_below_0_6) == (1.0, 0.5, 0.5)
        assert told.accuracy == 0.6

    def test_text_out_of_scope_is_counted_apart(self) -> None:
        told = figures(np.array([0.95]), np.array([True]), np.array([0.91, 0.9, 0.61, 0.2]))

        assert (told.n, told.oos_n, told.oos_autonomous, told.oos_confirmed) == (1, 4, 0.25, 0.5)

    def test_an_empty_band_has_no_accuracy(self) -> None:
        told = figures(np.array([0.95]), np.array([True]), None)

        assert told.accuracy_below_0_6 is None
        assert told.oos_autonomous is None

    def test_nothing_at_all_is_measured_without_failing(self) -> None:
        assert figures(np.array([]), np.array([], dtype=bool), None).n == 0


class TestCalibrationError:
    def test_is_the_gap_between_confidence_and_accuracy_weighted_by_rows(self) -> None:
        confidence = np.array([0.8, 0.8, 0.8, 0.8, 0.2, 0.2])
        right = np.array([True, True, True, False, False, False])

        assert calibration_error(confidence, right) == pytest.approx((4 * 0.05 + 2 * 0.2) / 6)

    def test_perfect_confidence_has_none(self) -> None:
        assert calibration_error(np.array([1.0, 0.0]), np.array([True, False])) == 0

    def test_its_interval_holds_it(self) -> None:
        rng = np.random.default_rng(1)
        confidence = rng.uniform(0.3, 1, 400)

        told = figures(confidence, rng.uniform(size=400) < confidence - 0.2, None)

        low, high = told.ece_interval
        assert low < told.ece < high


class TestEvaluate:
    def test_rows_marked_oos_are_out_of_scope(self, head: IntentHead) -> None:
        found = evaluate(head, [*examples(), *(Example(text, "oos") for text in STRANGE)])

        assert (found.figures.n, found.figures.oos_n) == (48, len(STRANGE))
        assert found.figures.accuracy > 0.95
        assert 0 < found.p50_ms <= found.p95_ms

    def test_no_rows_give_no_figures(self, head: IntentHead) -> None:
        assert evaluate(head, []).figures.n == 0
