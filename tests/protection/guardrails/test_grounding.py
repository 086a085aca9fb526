"""Which claims of an answer stand in what the model was given, or follow from it."""

from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handrail.protection.guardrails.grounding import claims_of, ground

ORDER = (
    '{"order":"A1004","items":[{"title":"Lighthouse Keeper","quantity":2,"price_cents":4999},'
    '{"title":"Mouse","quantity":1,"price_cents":1501}],"delivered":"2026-11-01","eta":"2026-12-02"}'
)
GIVEN = [ORDER, "You can return it within 30 days.\\nAsk Olga Petrova.", "where is my order a1004"]
TODAY = date(2026, 11, 27)


@pytest.mark.parametrize(
    "text",
    [
        "Order A1004 costs 49.99 euros.",
        "Order a1004 costs 4999 cents.",
        "Together that is 65.00 euros.",
        "It arrives on 2 December.",
        "It arrives on December 2nd, 2026.",
        "It was delivered on 01.11.2026.",
        "You can return it until 1 December 2026.",
        "That is 26 days ago.",
        "Ask for Olga Petrova please.",
        'Our terms say "return it within 30 days".',
        "1. First\n2. Second, in 5 minutes",
        "the 2nd one, at 10am, 5kg, for 24-hour delivery",
        "Nothing to see here.",
    ],
)
def test_what_was_given_or_follows_is_supported(text: str) -> None:
    assert ground(text, GIVEN, TODAY).unsupported == ()


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("Order A1005 is on its way.", ("id",)),
        ("It costs 17.20 euros.", ("number",)),
        ("It arrives on 9 March.", ("date",)),
        ("It arrives on 2027-03-09.", ("date",)),
        ("Ask for Boris Petrov please.", ("name",)),
        ('Our terms say "return it whenever you like".', ("quote",)),
    ],
)
def test_what_was_not_given_is_told_by_its_kind(text: str, kinds: tuple[str, ...]) -> None:
    assert ground(text, GIVEN, TODAY).unsupported == kinds


@given(st.text(max_size=200), st.text(max_size=200))
@settings(deadline=None)
def test_never_fails_and_a_text_supports_itself(text: str, other: str) -> None:
    assert ground(text, [other], TODAY).claims == len(list(claims_of(text)))


@given(st.text(alphabet='0123456789.,- /AJanuryMch‘’"“', max_size=80))
@settings(deadline=None)
def test_odd_numbers_and_dates_are_read_without_failing(text: str) -> None:
    ground(text, [text], TODAY)


def test_a_long_evidence_is_read_in_bounds() -> None:
    assert ground("It costs 17.20.", ["1.00 " * 100_000], TODAY).unsupported == ("number",)
