"""What was searched for is looked for in the text itself."""

from hypothesis import given
from hypothesis import strategies as st

from handrail.insight.search import Part, first_match, query_of


def shown(parts: object) -> str:
    assert isinstance(parts, list | tuple)
    return "".join(f"[{part.text}]" if part.is_found else part.text for part in parts)


def match(texts: list[str], query: str) -> str | None:
    found = first_match(texts, query_of(query))
    return None if found is None else shown(found)


def test_all_words_must_be_there_in_whichever_text() -> None:
    assert match(["a broken cup", "my parcel"], "parcel broken") == "a [broken] cup"
    assert match(["a broken cup"], "parcel broken") is None


def test_a_phrase_stands_in_one_text() -> None:
    assert match(["green", "tea"], '"green tea"') is None
    assert match(["a cup of Green, tea!"], '"green tea"') == "a cup of [Green, tea]!"
    assert match(["green tea", "my cup"], '"green tea" cup') == "[green tea]"


def test_what_is_shown_is_cut_between_words_around_the_find() -> None:
    text = f"{'before ' * 40}refund{' after' * 60}"
    found = match([text], "refund")
    assert found is not None
    assert found.startswith("... before ")
    assert found.endswith(" after ...")
    assert "[refund]" in found
    assert len(found) < 260


def test_a_long_word_without_blanks_is_shown_in_part() -> None:
    assert match(["x" * 3000 + " refund " + "y" * 3000], "refund") is not None


def test_nothing_is_found_where_nothing_is_asked() -> None:
    assert match(["something"], "the") is None


def test_text_of_others_stays_text() -> None:
    parts = first_match(["<script>alert(1)</script> refund"], query_of("refund alert"))
    assert parts is not None
    assert Part("<script>") in parts


@given(st.lists(st.text(max_size=300), max_size=4), st.text(max_size=30))
def test_whatever_is_said_and_asked_what_is_shown_stands_in_it(texts: list[str], query: str) -> None:
    found = first_match(texts, query_of(query))
    if found is not None:
        said = "".join(part.text for part in found if part not in (Part("... "), Part(" ...")))
        assert any(said in text for text in texts)
        assert any(part.is_found for part in found)
