"""What a line of a search box asks for, and identifiers in their one form."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handrail.insight.search import form_of, is_same, query_of


class TestQueryOf:
    def test_takes_words_and_phrases_apart(self) -> None:
        query = query_of('Refund "not paid to me" the REFUND')
        assert query.plain == ("refund",)
        assert query.phrases == (("not", "paid", "to", "me"),)
        assert query.words == ("refund", "paid")
        assert query.left_out == ("the",)

    @pytest.mark.parametrize("text", ['"open end', 'a " b " c "', "“curly quotes”", "«angled»", '""', 'NEAR("x" y)*'])
    def test_takes_any_quotes(self, text: str) -> None:
        assert query_of(text).words == tuple(dict.fromkeys(query_of(text).words))

    def test_knows_quotes_of_other_hands(self) -> None:
        assert query_of("“green tea” «black tea»").phrases == (("green", "tea"), ("black", "tea"))

    @given(st.text(max_size=3000))
    def test_is_bounded_whatever_is_written(self, text: str) -> None:
        query = query_of(text)
        assert len(query.words) <= 20
        assert len(query.plain) <= 20
        assert set(query.plain) <= set(query.words) | set(query.plain)

    def test_asks_for_every_word_that_is_not_left_out(self) -> None:
        assert query_of(" ".join(f"word{number}" for number in range(100))).words[-1] == "word19"


class TestFormOf:
    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("Ana.Moss@Example.org", " ana.moss@example.org"),
            ("+44 7700 900123", "07700-900-123"),
            ("4111 1111 1111 1111", "4111-1111-1111-1111"),
            ("DE89 3704 0044 0532 0130 00", "de89370400440532013000"),
            ("123-45-6789", "123456789"),
            ("２００１:db8::1", "2001:DB8::1"),
        ],
    )
    def test_is_one_for_all_ways_of_writing_it(self, one: str, other: str) -> None:
        assert form_of(one) == form_of(other) != ""

    @given(st.text(max_size=600))
    def test_is_its_own_form(self, text: str) -> None:
        assert form_of(form_of(text)) == form_of(text)


class TestIsSame:
    def test_tells_phone_numbers_alone_by_their_end(self) -> None:
        assert is_same("phone", "+44 7700 900123", "07700 900123")
        assert not is_same("card", "4111 1111 1111 1111", "0000 0001 1111 1111")
        assert is_same("card", "4111 1111 1111 1111", "4111111111111111")
        assert not is_same("email", "a@b.org", "a@c.org")
