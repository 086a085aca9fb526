import numpy as np
import pytest

from handrail.serving.routing import Example, IntentHead, TooFewExamples, TrainingReport, train
from handrail.serving.routing.training import folds_of, generic_out_of_scope
from tests.serving.routing.utterances import SAID, STRANGE, examples


class TestTrain:
    def test_reports_what_it_measured_on_rows_it_had_not_seen(self, trained: tuple[IntentHead, TrainingReport]) -> None:
        report = trained[1]

        assert (report.examples, report.intents) == (48, 4)
        assert report.held_out is not None
        assert report.held_out.n == 48
        assert report.held_out.accuracy > 0.8
        assert report.held_out.oos_autonomous is not None
        assert report.sentence().startswith("trained on 48 examples of 4 intents; on held-out examples ")

    def test_the_report_travels_with_the_head(self, trained: tuple[IntentHead, TrainingReport]) -> None:
        head, report = trained

        assert IntentHead.load(head.dump()).facts["training"]["examples"] == report.examples

    def test_generic_texts_stand_in_and_that_is_said(self, trained: tuple[IntentHead, TrainingReport]) -> None:
        report = trained[1]

        assert report.out_of_scope_source == "generic"
        assert report.out_of_scope_examples + report.generic_dropped == len(generic_out_of_scope())
        assert any("out-of-scope examples are generic" in warning for warning in report.warnings)

    def test_a_few_texts_of_the_projects_own_are_joined_by_generic_ones(self) -> None:
        report = train(examples(of_each=5), STRANGE)[1]

        assert report.out_of_scope_source == "given and generic"
        assert report.out_of_scope_examples > len(STRANGE)

    def test_enough_texts_of_the_projects_own_stand_alone(self) -> None:
        own = [f"{text} {number}" for number in range(20) for text in STRANGE]

        report = train(examples(of_each=5), own)[1]

        assert (report.out_of_scope_source, report.out_of_scope_examples, report.generic_dropped) == ("given", 120, 0)

    def test_generic_texts_about_the_projects_own_topic_are_left_out(self) -> None:
        weather = [Example(text, "weather") for text in generic_out_of_scope() if "rain" in text or "snow" in text]
        sun = ("when does the sun set today", "will it rain this afternoon", "do i need an umbrella tomorrow")
        weather += [Example(text, "weather") for text in sun] * 4

        report = train([*examples(), *weather])[1]

        assert report.generic_dropped >= 1

    @pytest.mark.parametrize(("of_each", "intents"), [(1, 2), (1, 4), (2, 3), (3, 2), (5, 2), (5, 4)])
    def test_very_few_examples_still_make_a_head(self, of_each: int, intents: int) -> None:
        head, report = train(examples(of_each, intents))

        assert head.predict(SAID["renew_loan"][0]).intent == "renew_loan"
        assert any("fewer than 10 examples" in warning for warning in report.warnings)

    def test_with_nothing_to_hold_out_it_says_that_confidence_is_not_calibrated(self) -> None:
        report = train(examples(of_each=1, intents=2))[1]

        assert report.held_out is None
        assert any("not calibrated" in warning for warning in report.warnings)
        assert "too few to measure anything" in report.sentence()

    def test_no_examples_are_refused(self) -> None:
        with pytest.raises(TooFewExamples, match="at least two intents"):
            train([])

    def test_one_intent_is_refused(self) -> None:
        with pytest.raises(TooFewExamples, match=r"all 12 examples belong to 'renew_loan'.*add a second intent"):
            train(examples(intents=1))

    def test_an_example_without_a_word_is_refused(self) -> None:
        with pytest.raises(TooFewExamples, match=r"'\?!' of intent 'other' has no word"):
            train([*examples(), Example("?!", "other")])


class TestFolds:
    def test_every_row_is_held_out_once_and_neighbours_go_together(self) -> None:
        intents = np.repeat([0, 1, 2], 20)

        folds = folds_of(intents, 5)

        assert set(folds.tolist()) == set(range(5))
        assert folds[:20].tolist() == [number for number in range(5) for _ in range(4)]
        assert all(len(set(folds[start : start + 4].tolist())) == 1 for start in range(0, 60, 4))

    def test_intents_with_one_row_each_are_not_all_held_out_at_once(self) -> None:
        assert folds_of(np.array([0, 1, 2]), 10).tolist() == [0, 1, 2]


class TestGenericTexts:
    def test_there_are_many_all_different_and_readable(self) -> None:
        texts = generic_out_of_scope()

        assert len(texts) >= 250
        assert len(set(texts)) == len(texts)
        assert all(text.strip() == text and len(text) < 100 for text in texts)
