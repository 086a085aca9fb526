"""The detector: one text in, its personal data out."""

import re
from collections.abc import Iterable

from handrail.protection.privacy.cues import cue_of_question, has_cue
from handrail.protection.privacy.doubts import doubted
from handrail.protection.privacy.folding import fold, unfold
from handrail.protection.privacy.rules import find_by_rules
from handrail.protection.privacy.spans import Kind, Span, without_overlaps
from handrail.protection.privacy.tagger import Tagger, shipped_tagger

# What tells of a person; a key or a machine's address is another matter.
_OF_PEOPLE = frozenset({Kind.EMAIL, Kind.IBAN, Kind.CARD, Kind.SSN, Kind.PHONE, Kind.PERSON, Kind.ADDRESS})


def find_personal_data(text: str, previous: str | None = None) -> list[Span]:
    """Spans in text order, without overlaps; `previous` is the question that this text answers.

    Rules find what has a form of its own (cards, IBANs, SSNs, e-mail, phones, IP addresses, keys); behind a cheap gate
    the tagger finds names, addresses, accounts, passwords and what is messy. Where both find something, the rule wins.
    """
    folded, places = fold(text)
    asked = cue_of_question(previous)
    found = find_by_rules(folded, asked)
    if worth_tagging(folded, asked):
        found = without_overlaps([*found, *find_by_tagger(shipped_tagger(), folded, previous, asked)])
    return [unfold(span, places) for span in found]


def find_by_tagger(tagger: Tagger, folded: str, previous: str | None, asked: str | None) -> list[Span]:
    """What the tagger finds, less the numbers that their surroundings call something else.

    `asked` is the cue of the question `previous`.
    """
    spans = tagger.find(folded, asked)
    return [span for span in spans if not doubted(folded, span, previous)]


# The numbers whose meaning a question can decide: the last digits of one, a long one, what may be a machine's address.
_ASKED_FOR = re.compile(
    r"(?<![0-9])[0-9]{4}(?![0-9])|[0-9](?:[ ./()-]{0,2}[0-9]){6}|[0-9]\.[0-9]|[0-9A-Fa-f]?:[0-9A-Fa-f:]"
)


def find_structured(text: str, previous: str | None = None) -> list[Span]:
    """By rules alone: what has a form of its own. For logs, where a word taken for a name would hide the cause."""
    folded, places = fold(text)
    # To read the question costs more than the answer, so it is read where it matters.
    asked = cue_of_question(previous) if previous and _ASKED_FOR.search(folded) else None
    return [unfold(span, places) for span in find_by_rules(folded, asked)]


def of_people(spans: Iterable[Span]) -> list[Span]:
    """Those that tell of a person."""
    return [span for span in spans if span.kind in _OF_PEOPLE]


_SIGN = re.compile(r"[0-9@]|\b(?:this is|i am|i'm|im|its|it's|regards|sincerely|dear)\b", re.IGNORECASE)
_CAPITAL = re.compile(r"[^\s.!?:]\s+[A-Z\u00c0-\u00de]")
_SHORT_WORDS = 6


def worth_tagging(folded: str, asked: str | None) -> bool:
    """Whether a text could hold a name or an address: short, an answer, with a digit, a cue or a capital."""
    return (
        asked is not None
        or folded.count(" ") < _SHORT_WORDS
        or _SIGN.search(folded) is not None
        or _CAPITAL.search(folded) is not None
        or has_cue(folded)
    )
