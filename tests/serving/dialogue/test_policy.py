"""What the words of a user mean inside a flow."""

import pytest

from handrail.serving.dialogue.policy import find_value, leaves_flow, skips
from handrail.serving.dialogue.schema import Slot

ORDER = Slot(ask="Which order?", pattern=r"A\d{4}", case="upper")


class TestLeavesFlow:
    @pytest.mark.parametrize(
        "text",
        [
            "cancel",
            "Cancel, please.",
            "never mind",
            "Nevermind!",
            "oh, forget it",
            "stop",
            "no, forget that",
            "I've changed my mind",
            "ok let's stop here",
        ],
    )
    def test_hears_that_the_user_drops_it(self, text: str) -> None:
        assert leaves_flow(text) == "cancel"

    @pytest.mark.parametrize(
        "text",
        [
            "I want a human",
            "can I talk to a real person?",
            "agent please",
            "Human!",
            "let me speak with someone",
            "I'd like to speak to your manager",
            "please connect me to an operator",
            "put me through to a representative",
            "i need to talk to a person now",
        ],
    )
    def test_hears_the_wish_for_a_person(self, text: str) -> None:
        assert leaves_flow(text) == "human"

    @pytest.mark.parametrize(
        "text",
        [
            "A1001",
            "cancel order A1002",
            "cancel it",
            "please cancel my order",
            "the delivery person was rude",
            "I don't need a human",
            "no",
            "it never arrived",
            "",
            "my mind is made up, refund A1001",
        ],
    )
    def test_leaves_other_answers_to_the_flow(self, text: str) -> None:
        assert leaves_flow(text) is None


class TestFindValue:
    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("where is my order A1001?", "A1001"),
            ("a1001", "A1001"),
            ("A1001, yes a1001!", "A1001"),
            ("A1001 and A1002", None),
            ("A10012", None),
            ("XA1001", None),
            ("no idea", None),
        ],
    )
    def test_takes_the_one_match_of_a_pattern(self, text: str, value: str | None) -> None:
        assert find_value(ORDER, text) == value

    @pytest.mark.parametrize(
        ("kind", "text", "value"),
        [
            ("integer", "I'd like 3 of them.", 3),
            ("integer", "3 or 4", None),
            ("integer", "3.5", None),
            ("integer", "A1001", None),
            ("number", "it weighs 3.5 kg", 3.5),
            ("number", "1,000", None),
            ("date", "on 2026-12-03 please", "2026-12-03"),
            ("date", "3rd of December 2026", "2026-12-03"),
            ("date", "Dec 3, 2026", "2026-12-03"),
            ("date", "31 February 2026", None),
            ("date", "tomorrow", None),
            ("string", "  too   small ", "too small"),
            ("string", "   ", None),
        ],
    )
    def test_reads_a_value_of_the_slots_type(self, kind: str, text: str, value: object) -> None:
        slot = Slot.model_validate({"ask": "?", "type": kind})

        assert find_value(slot, text) == value

    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("any kettles left?", "kettle"),
            ("is the Travel Mug in stock", "travel mug"),
            ("a mug", "mug"),
            ("a kettle or a mug", None),
            ("mugger", None),
        ],
    )
    def test_takes_the_most_exact_choice(self, text: str, value: str | None) -> None:
        slot = Slot.model_validate({"ask": "?", "type": "choice", "choices": ["kettle", "mug", "travel mug"]})

        assert find_value(slot, text) == value


@pytest.mark.parametrize(("text", "skipped"), [("skip", True), ("No, thanks", True), ("it broke", False), ("", False)])
def test_an_optional_question_can_be_skipped_in_several_words(text: str, skipped: bool) -> None:
    assert skips(text) is skipped
