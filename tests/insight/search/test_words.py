"""Words as they are searched for."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handrail.insight.search import is_told, words_in


def words(text: str) -> list[str]:
    return [each.text for each in words_in(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Where is my ORDER #A-1042?", ["where", "is", "my", "order", "a", "1042"]),
        ("Café CAFE\u0301 cafe", ["cafe"] * 3),
        ("ＦＵＬＬ width ﬁne", ["full", "width", "fine"]),
        ("Straße STRASSE", ["strasse"] * 2),
        ("don't_do-it 12.50", ["don", "t", "do", "it", "12", "50"]),
        ("订单在哪里 x", ["订单", "单在", "在哪", "哪里", "x"]),
        ("환불을", ["환불", "불을"]),
        ("שָׁלוֹם", ["שלום"]),
        ("🙂 !?", []),
    ],
)
def test_are_folded(text: str, expected: list[str]) -> None:
    assert words(text) == expected


@given(st.text(max_size=200))
def test_stand_where_they_say_in_their_order(text: str) -> None:
    found = list(words_in(text))
    assert all(0 <= each.start < each.end <= len(text) for each in found)
    assert [each.start for each in found] == sorted(each.start for each in found)


@given(st.text(max_size=100))
def test_of_a_text_are_those_of_it_written_in_other_case_and_composed(text: str) -> None:
    composed = unicodedata.normalize("NFC", text)
    if composed.isascii():
        assert words(composed.upper()) == words(composed.lower()) == words(text)


@pytest.mark.parametrize(("word", "told"), [("the", False), ("x", False), ("7", False), ("42", True), ("refund", True)])
def test_that_are_short_or_everywhere_are_not_told(word: str, told: bool) -> None:
    assert is_told(word) is told
