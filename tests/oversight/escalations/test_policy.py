import pytest

from handrail.core.answers import Handoff
from handrail.oversight.escalations import Attempt, customer_word, summarise
from handrail.oversight.escalations.policy import MOST_CHARACTERS, frustration


class TestSummarise:
    def test_holds_what_a_colleague_needs_to_go_on(self) -> None:
        summary = summarise(
            intent="refund",
            text="I want my money back",
            reason="tool 'refund' failed",
            earlier=["hello", "order A1001", "it is broken"],
            attempts=[Attempt("find_order", "completed"), Attempt("refund", "failed")],
        )

        assert summary == {
            "intent": "refund",
            "reason": "tool 'refund' failed",
            "last_messages": ["order A1001", "it is broken", "I want my money back"],
            "attempted": [{"tool": "find_order", "status": "completed"}, {"tool": "refund", "status": "failed"}],
            "frustration": {"level": "none", "signs": []},
        }

    def test_needs_no_more_than_the_message_itself(self) -> None:
        summary = summarise(intent=None, text="hm", reason="lost")

        assert (summary["intent"], summary["last_messages"], summary["attempted"]) == (None, ["hm"], [])

    def test_shortens_a_long_message(self) -> None:
        (shown,) = summarise(intent=None, text="x" * 5000, reason="lost")["last_messages"]

        assert len(shown) == MOST_CHARACTERS
        assert shown.endswith("…")


class TestFrustration:
    @pytest.mark.parametrize(
        ("messages", "signs"),
        [
            (["where is my order?", "A1001"], []),
            (["let me speak to a human"], ["asks_for_a_person"]),
            (["this is ridiculous"], ["harsh_words"]),
            (["hello??"], ["insists"]),
            (["WHERE IS MY ORDER A1001"], ["shouts"]),
            (["OK", "A1001 DHL"], []),
            (["where is it?", "Where is it"], ["repeats"]),
            (["it is a personal matter, no joking"], []),
        ],
    )
    def test_is_read_from_plain_signs(self, messages: list[str], signs: list[str]) -> None:
        assert frustration(messages)["signs"] == signs

    @pytest.mark.parametrize(
        ("message", "level"),
        [("thanks", "none"), ("hello??", "some"), ("useless!! give me a person", "high")],
    )
    def test_is_high_when_there_are_several(self, message: str, level: str) -> None:
        assert frustration([message])["level"] == level


class TestCustomerWord:
    def test_says_the_projects_words_and_what_really_happens(self) -> None:
        word = customer_word(Handoff("lost", "billing"), message="I am handing you over.")

        assert word == (
            "I am handing you over. I am passing on what you wrote here to the billing team, so you need not repeat it."
        )

    def test_names_no_team_that_is_not_there_and_keeps_the_reason_to_itself(self) -> None:
        word = customer_word(Handoff("tool 'refund' failed"), message="One moment.")

        assert "to a person" in word
        assert "refund" not in word

    @pytest.mark.parametrize("promise", ["minute", "hour", "soon", "shortly", "immediately", "will answer"])
    def test_promises_no_time(self, promise: str) -> None:
        assert promise not in customer_word(Handoff("lost"), message="I am handing you over.")
