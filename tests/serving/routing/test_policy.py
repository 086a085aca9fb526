import math

import pytest

from handrail.serving.routing import Thresholds, decide
from handrail.serving.routing.head import Prediction


def prediction(confidence: float) -> Prediction:
    ranked = (("order_status", confidence), ("refund", confidence / 2), ("account", confidence / 4))
    return Prediction("order_status", confidence, ranked, 0.0)


class TestDecide:
    @pytest.mark.parametrize(
        ("confidence", "action"),
        [
            (1.0, "execute"),
            (math.nextafter(0.9, 1), "execute"),
            (0.9, "confirm"),
            (math.nextafter(0.6, 1), "confirm"),
            (0.6, "clarify"),
            (0.0, "clarify"),
        ],
    )
    def test_a_confidence_must_lie_above_a_threshold(self, confidence: float, action: str) -> None:
        assert decide(prediction(confidence), Thresholds()).action == action

    def test_clarifying_offers_the_two_likeliest(self) -> None:
        assert decide(prediction(0.4), Thresholds()).choices == ("order_status", "refund")

    @pytest.mark.parametrize("confidence", [0.7, 0.95])
    def test_only_clarifying_offers_choices(self, confidence: float) -> None:
        assert decide(prediction(confidence), Thresholds()).choices == ()

    @pytest.mark.parametrize("failures", [1, 2, 5])
    def test_the_second_failure_in_a_row_goes_to_a_person(self, failures: int) -> None:
        assert decide(prediction(0.6), Thresholds(), failures).action == "handoff"

    @pytest.mark.parametrize(("confidence", "action"), [(0.61, "confirm"), (0.91, "execute")])
    def test_a_message_that_is_understood_is_answered_after_any_failures(self, confidence: float, action: str) -> None:
        assert decide(prediction(confidence), Thresholds(), failures=3).action == action

    def test_an_intents_own_thresholds_come_first(self) -> None:
        own = {"order_status": Thresholds(execute=0.99, confirm=0.3)}

        assert decide(prediction(0.95), Thresholds(), per_intent=own).action == "confirm"
        assert decide(prediction(0.31), Thresholds(), per_intent=own).action == "confirm"

    def test_another_intents_thresholds_do_not_count(self) -> None:
        assert decide(prediction(0.95), Thresholds(), per_intent={"refund": Thresholds(1, 1)}).action == "execute"

    def test_the_reason_names_intent_confidence_and_threshold(self) -> None:
        assert decide(prediction(0.95), Thresholds()).reason == "'order_status' at 0.950 is above 0.9"
        assert "0.700 is above 0.6 but not 0.9" in decide(prediction(0.7), Thresholds()).reason
        assert decide(prediction(0.5), Thresholds()).reason == "'order_status' at 0.500 is not above 0.6"
        assert "neither was the message before" in decide(prediction(0.5), Thresholds(), 1).reason


class TestThresholds:
    @pytest.mark.parametrize(("execute", "confirm"), [(0.5, 0.6), (1.1, 0.5), (0.9, -0.1)])
    def test_an_order_that_makes_no_sense_is_refused(self, execute: float, confirm: float) -> None:
        with pytest.raises(ValueError, match="0 <= confirm <= execute <= 1"):
            Thresholds(execute, confirm)

    def test_an_intent_may_override_one_and_the_other_gives_way(self) -> None:
        agent = Thresholds(0.9, 0.6)

        assert agent.overridden() == agent
        assert agent.overridden(execute=0.5) == Thresholds(0.5, 0.5)
        assert agent.overridden(confirm=0.95) == Thresholds(0.95, 0.95)
        assert agent.overridden(execute=0.99) == Thresholds(0.99, 0.6)
        assert agent.overridden(0.8, 0.2) == Thresholds(0.8, 0.2)
