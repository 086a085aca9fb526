import time
import unicodedata
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handrail.protection.guardrails import InvalidMessage, admit_text


@dataclass(frozen=True)
class Limits:
    max_characters: int = 4000


LIMITS = Limits()


class TestAdmitText:
    @pytest.mark.parametrize(
        "text",
        [
            "where is my order A1001?",
            "two\nlines and a\ttab",
            "straße, 東京, зво́нок",
            "नमस्ते क्‍ष",
            "می‌خواهم",
            "👩‍👩‍👧 ❤️ 🇩🇪",
            "x² ½ ｆｕｌｌ ﬁ",
            "שלום\u200f abc\u200e",
        ],
    )
    def test_leaves_what_people_write_as_it_is(self, text: str) -> None:
        assert admit_text(text, LIMITS) == unicodedata.normalize("NFC", text)

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("  hello \n", "hello"),
            ("a\r\nb\rc\u2028d\x0be\x85f", "a\nb\nc\nd\ne\nf"),
            ("a\x00b\x1b[31mc\x7fd\x9b", "ab[31mcd"),
            ("pay \u202e05\u202c now", "pay 05 now"),
            ("\u2066isolated\u2069", "isolated"),
            ("z\u200be\u2060r\ufeffo\xad", "zero"),
            ("hi\U000e0069\U000e0067\U000e006e\U000e006f", "hi"),
            ("a\U000e0101\U000e0150b", "ab"),
            ("half \ud83d pair", "half  pair"),
            ("non\ufffe\ufdd0char\uffff", "nonchar"),
            ("e\u0301", "é"),
        ],
        ids=[
            "outer-space",
            "line-breaks",
            "control-characters",
            "bidi-override",
            "bidi-isolate",
            "zero-width",
            "tag-characters",
            "variation-selectors",
            "surrogate",
            "non-characters",
            "composed",
        ],
    )
    def test_takes_out_what_no_reader_sees(self, text: str, expected: str) -> None:
        assert admit_text(text, LIMITS) == expected

    @pytest.mark.parametrize("text", ["", "   \n\t ", "\x00\x01", "\u200b\u202e", "\u2003\xa0"])
    def test_refuses_a_message_in_which_there_is_nothing(self, text: str) -> None:
        with pytest.raises(InvalidMessage, match="is empty; write") as refused:
            admit_text(text, LIMITS)

        assert (refused.value.code, refused.value.param) == ("invalid_message", "message")

    @pytest.mark.parametrize("value", [None, 7, b"bytes", ["a"], {"a": 1}])
    def test_refuses_what_is_no_text_and_names_what_it_is(self, value: object) -> None:
        with pytest.raises(InvalidMessage, match=f"not {type(value).__name__}"):
            admit_text(value, LIMITS)

    def test_allows_the_limit_and_refuses_one_more(self) -> None:
        assert len(admit_text("x" * 4000, LIMITS)) == 4000
        with pytest.raises(InvalidMessage, match="4,001 characters and 4,000 are allowed; shorten"):
            admit_text("x" * 4001, LIMITS)

    def test_counts_characters_after_cleaning(self) -> None:
        assert admit_text(" \u200b" + "e\u0301" * 10 + " ", Limits(10)) == "é" * 10

    def test_refuses_a_huge_text_without_reading_it(self) -> None:
        huge = "\u0301\u0323" * 5_000_000

        start = time.process_time()
        with pytest.raises(InvalidMessage, match="10,000,000"):
            admit_text(huge, LIMITS)

        assert time.process_time() - start < 0.05

    def test_is_not_slowed_down_by_a_tower_of_marks(self) -> None:
        tower = "a" + "\u0315\u0300\u0323" * 5000

        start = time.process_time()
        text = admit_text(tower, LIMITS)

        assert time.process_time() - start < 0.1
        assert len(text) <= 31

    @given(st.text(st.characters(), max_size=300))
    def test_gives_text_that_it_would_take_again_as_it_is(self, text: str) -> None:
        try:
            clean = admit_text(text, LIMITS)
        except InvalidMessage:
            return

        assert admit_text(clean, LIMITS) == clean
        assert clean.encode()
        assert all(unicodedata.category(c) != "Cc" or c in "\n\t" for c in clean)
