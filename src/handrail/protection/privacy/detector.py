"""The detector: one text in, its personal data out."""

from handrail.protection.privacy.cues import cue_of_question
from handrail.protection.privacy.folding import fold, unfold
from handrail.protection.privacy.rules import find_by_rules
from handrail.protection.privacy.spans import Kind, Span

# What tells of a person; a key or a machine's address is another matter.
_OF_PEOPLE = frozenset({Kind.EMAIL, Kind.IBAN, Kind.CARD, Kind.SSN, Kind.PHONE, Kind.PERSON, Kind.ADDRESS})


def find_personal_data(text: str, previous: str | None = None) -> list[Span]:
    """Spans in text order, without overlaps; `previous` is the question that this text answers.

    Found is what has a form of its own: cards, IBANs, SSNs, e-mail, phones, IP addresses, keys. No names, no streets.
    """
    folded, places = fold(text)
    return [unfold(span, places) for span in find_by_rules(folded, cue_of_question(previous))]


def personal_in(text: str) -> list[str]:
    """What tells of a person, as it is written."""
    return [text[span.start : span.end] for span in find_personal_data(text) if span.kind in _OF_PEOPLE]
