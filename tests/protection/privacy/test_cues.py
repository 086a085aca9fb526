"""The short cuts before the words that tell what a number is leave nothing out."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from handrail.protection.privacy import cues, detector
from handrail.protection.privacy.cues import cue_of_question
from handrail.protection.privacy.folding import fold
from handrail.protection.privacy.rules import find_by_rules

ASKING = {asking.cue: asking for asking in cues._ASKING}  # pyright: ignore[reportPrivateUsage]
MATTERS = detector._ASKED_FOR  # pyright: ignore[reportPrivateUsage]
NUMBERS = st.lists(
    st.sampled_from([*"0123456789", *" .-:/()+,af", "12", "9999", "555", "::", "\N{FULLWIDTH DIGIT FIVE}", "192.168."])
).map("".join)


@pytest.mark.parametrize("cue", ASKING)
def test_no_question_is_missed_for_want_of_a_sign(cue: str):
    asking = ASKING[cue]

    @given(st.from_regex(asking.words, alphabet=st.characters(max_codepoint=0x7F)))
    def signed(text: str) -> None:
        found = asking.words.search(text)
        assert found
        assert any(sign in found[0].casefold() for sign in asking.signs), found[0]

    signed()


@pytest.mark.parametrize(
    ("question", "asked"),
    [
        ("Which order is it, and what are the last four of your SSN?", "ssn"),
        ("To find the order I need the card it was paid with.", "card"),
        ("What is your phone number?", "phone"),
        ("May I have your e-mail?", "email"),
        ("What's your order number?", "id"),
        ("How can I help?", None),
        ("", None),
        (None, None),
    ],
)
def test_of_several_things_asked_for_the_most_personal_counts(question: str | None, asked: str | None):
    assert cue_of_question(question) == asked


@given(NUMBERS)
@example("::1")
@example("10.0.0.1")
def test_where_the_question_is_not_read_it_would_not_matter(text: str):
    folded, _ = fold(text)
    if MATTERS.search(folded) is None:
        plain = find_by_rules(folded, None)
        assert all(find_by_rules(folded, cue) == plain for cue in ASKING)


def test_the_sign_of_a_cue_is_written_small():
    signs = [sign for asking in ASKING.values() for sign in asking.signs]
    assert all(sign == sign.casefold() and re.search(r"\w", sign) for sign in signs)
