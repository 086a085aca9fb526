"""What lies in the index tells nothing without the key, and of identifiers little with it."""

import re

from hypothesis import given
from hypothesis import strategies as st

from handrail.insight.search import SearchKey, SearchKeys

KEY, OTHER = SearchKey(b"one"), SearchKey(b"two")


def test_a_word_lies_as_thirty_bits_under_the_key_of_its_tenant() -> None:
    assert len(KEY.word("refund")) == 5
    assert KEY.word("refund") == SearchKey(b"one").word("refund") != OTHER.word("refund")
    assert KEY.name != OTHER.name


def test_an_identifier_lies_as_sixteen_bits_and_is_never_taken_for_a_word() -> None:
    values = {KEY.identifier(f"user{number}@example.org") for number in range(3000)}
    assert all(each.startswith("~") and len(each) == 5 for each in values)
    # With so few bits some of three thousand share theirs: none of them can be told from its value.
    assert len(values) < 3000
    assert KEY.identifier("refund") != KEY.word("refund")


@given(st.lists(st.text(max_size=20), max_size=50), st.lists(st.text(max_size=20), max_size=5))
def test_an_entry_has_each_of_its_words_between_blanks_in_an_order_of_its_own(
    words: list[str], forms: list[str]
) -> None:
    entry = KEY.entry(words, forms)
    assert all(f" {KEY.word(word)} " in entry for word in words)
    assert all(f" {KEY.identifier(form)} " in entry for form in forms)
    assert entry == KEY.entry(words[::-1], forms[::-1])
    # So that one is found by its characters alone, and never across two.
    assert all(re.fullmatch("~[0-9a-f]{4}|[A-Za-z0-9_-]{5}", each) for each in entry.split())


def test_an_entry_is_bounded() -> None:
    assert len(KEY.entry(map(str, range(10_000)), ()).split()) == 500


async def test_the_key_is_the_tenants() -> None:
    async def secret_of(tenant_id: str) -> bytes:
        return tenant_id.encode()

    keys = SearchKeys(secret_of)
    assert (await keys.of("acme")).word("x") != (await keys.of("default")).word("x")
