"""What is no personal data whatever a classifier says: numbers that their surroundings call something else."""

import re

from handrail.protection.privacy.cues import cue_of_question
from handrail.protection.privacy.spans import Kind, Span

_THINGS = (
    r"order|item|ticket|invoice|tracking|ref|refund|sku|serial|model|confirmation|booking|reservation|case|claim|polic|rma"
    r"|part|product|transaction|amount|total|price|cost|fee|charge|paid|pay|room|flight|gate|seat|quantity|version|firmware"
    r"|coupon|voucher|error|year"
)
_NAMED = re.compile(rf"\b(?:{_THINGS})[a-z]{{0,6}}\b[^0-9,;.!?\n]{{0,16}}$", re.IGNORECASE)
_ASKED = re.compile(rf"\b(?:{_THINGS}|how (?:much|many)|when|date|size|brand)", re.IGNORECASE)
_PERSONAL = re.compile(r"ssn|social|card|phone|mobile|account|acc?t?\b|pass ?word|pin\b|name|digits", re.IGNORECASE)
_OF_DIGITS = frozenset({Kind.SSN, Kind.CARD, Kind.PHONE, Kind.ACCOUNT, Kind.PASSWORD})
_REACH = 32
_BEFORE, _AFTER = frozenset("$\u20ac\u00a3#/-."), frozenset("/%\u20ac$")


def doubted(text: str, span: Span, previous: str | None) -> bool:
    """Whether a number is an amount, a date, or what the words before it or the question call a thing."""
    if span.kind not in _OF_DIGITS:
        return False
    before, after = text[max(0, span.start - _REACH) : span.start], text[span.end : span.end + 1]
    if before[-1:] in _BEFORE or after in _AFTER or (after == "." and text[span.end + 1 : span.end + 2].isdigit()):
        return True
    named = _NAMED.search(before)
    if named:
        return _PERSONAL.search(named[0]) is None
    return previous is not None and _asks_for_a_thing(previous)


def _asks_for_a_thing(previous: str) -> bool:
    thing = _ASKED.search(previous) is not None and _PERSONAL.search(previous) is None
    return thing and cue_of_question(previous) in (None, "id")
