import pytest
from hypothesis import given
from hypothesis import strategies as st

from handrail.serving.routing import parse_choice, parse_yes_no

TITLES = ("track an order", "return an item")


class TestYesNo:
    @pytest.mark.parametrize(
        "text",
        [
            "yes", "Yes.", "YES!!", "yep", "yeah", "sure", "ok", "okay, go ahead", "please do", "yes please",
            "correct", "that's right", "that’s it", "yes, that's correct", "of course", "do it", "sounds good",
            "yes thank you", "👍", "y", "oh yes", "sure thing", "yes yes yes", "I do", "yes, please go ahead",
        ],
    )  # fmt: skip
    def test_a_plain_yes_is_yes(self, text: str) -> None:
        assert parse_yes_no(text) is True

    @pytest.mark.parametrize(
        "text",
        [
            "no", "No!", "nope", "nah", "no thanks", "no, thank you", "don't", "please don't", "do not do that",
            "cancel", "cancel it please", "not that", "that's wrong", "never mind", "stop", "no, that's not it",
            "n", "👎", "not now", "of course not", "definitely not", "don’t do it", "no no",
        ],
    )  # fmt: skip
    def test_a_plain_no_is_no(self, text: str) -> None:
        assert parse_yes_no(text) is False

    @pytest.mark.parametrize(
        "text",
        [
            "", "   ", "?", "...", "yes but only the blue one", "yes and also cancel my account",
            "no, where is my order",
            "yes no", "no yes", "yes?", "ok?", "is that right?", "right now I want something else", "maybe",
            "I don't know", "not sure", "yes, refund order A1002 instead", "do it tomorrow", "yesterday", "noon",
            "sure I don't want that", "please", "thanks", "well", "it", "cancel my order", "stop my subscription",
            "yes yes yes yes yes yes yes yes yes", "ok so what is this about", "no problem", "why not wait",
            "right now",
        ],
    )  # fmt: skip
    def test_everything_that_says_more_or_both_is_neither(self, text: str) -> None:
        assert parse_yes_no(text) is None

    @given(st.text(max_size=80))
    def test_any_text_is_read_without_failing(self, text: str) -> None:
        assert parse_yes_no(text) in {True, False, None}

    @given(st.sampled_from(["yes", "ok", "sure", "go ahead"]), st.from_regex(r"[a-z]{9,12}", fullmatch=True))
    def test_a_yes_beside_an_unknown_word_is_never_a_yes(self, yes: str, word: str) -> None:
        known = {"certainly", "definitely", "absolutely", "confirmed", "affirmative"}
        assert parse_yes_no(f"{yes} {word}") is not True or word in known


class TestChoice:
    @pytest.mark.parametrize(
        ("text", "index"),
        [
            ("1", 0), ("the first", 0), ("First one please", 0), ("option 1", 0), ("number one", 0), ("1st",
            0), ("a", 0),
            ("2", 1), ("the second one", 1), ("2.", 1), ("I'd like the second", 1), ("the latter", 1),
            ("the last one", 1),
            ("track an order", 0), ("the order", 0), ("track", 0), ("return", 1), ("returning an item", 1),
            ("items", 1),
            ("I want to return an item", 1),
        ],
    )  # fmt: skip
    def test_a_number_an_order_or_the_titles_words_choose(self, text: str, index: int) -> None:
        assert parse_choice(text, TITLES) == index

    @pytest.mark.parametrize(
        "text",
        [
            "", "neither", "both", "3", "the third", "first and second", "1 or 2", "that one", "the one",
            "not the first", "no", "hello",
            "track and return", "I would rather talk to a person about my broken kettle",
            "my order A1001 came late, was broken and I am angry with you",
        ],
    )  # fmt: skip
    def test_anything_else_chooses_nothing(self, text: str) -> None:
        assert parse_choice(text, TITLES) is None

    def test_words_that_both_titles_have_choose_nothing(self) -> None:
        assert parse_choice("order", ("track an order", "cancel an order")) is None

    @given(st.text(max_size=60), st.lists(st.text(max_size=20), max_size=4))
    def test_any_text_is_read_without_failing(self, text: str, titles: list[str]) -> None:
        found = parse_choice(text, titles)
        assert found is None or 0 <= found < len(titles)
