"""What somebody searches for: words, phrases in quotes, or an identifier in its one form."""

import re
import unicodedata
from dataclasses import dataclass

from handrail.insight.search.words import is_told, words_in

MOST_CHARACTERS = 500
MOST_WORDS = 20
# As many digits as a number has in every way of writing it, with the country's code or without.
PHONE_DIGITS = 9

_PHRASE = re.compile(
    r'["\u201c\u201d\u201e\u00ab\u00bb]([^"\u201c\u201d\u201e\u00ab\u00bb]*)["\u201c\u201d\u201e\u00ab\u00bb]'
)
_APART = re.compile(r"[^0-9A-Z]+")


@dataclass(frozen=True, slots=True)
class Query:
    """All of it must be in a conversation.

    Attributes:
        words: what the index is asked for, phrases' words included.
        plain: words that stand in no phrase.
        phrases: words that follow one another in one message, short and frequent ones too.
        left_out: what was written and is not searched for, being too short or too frequent.
    """

    words: tuple[str, ...] = ()
    plain: tuple[str, ...] = ()
    phrases: tuple[tuple[str, ...], ...] = ()
    left_out: tuple[str, ...] = ()


def query_of(text: str) -> Query:
    """What a line of a search box asks for; whatever else is in it means nothing."""
    text = text[:MOST_CHARACTERS]
    phrases = [tuple(word.text for word in words_in(found[1])) for found in _PHRASE.finditer(text)]
    written = [word.text for word in words_in(_PHRASE.sub(" ", text))]
    plain = list(dict.fromkeys(word for word in written if is_told(word)))[:MOST_WORDS]
    phrases = [each for each in dict.fromkeys(phrases) if any(map(is_told, each))][:MOST_WORDS]
    words = dict.fromkeys([*plain, *(word for each in phrases for word in each if is_told(word))])
    left_out = dict.fromkeys(word for word in written if not is_told(word))
    return Query(tuple(words)[:MOST_WORDS], tuple(plain), tuple(phrases), tuple(left_out))


def form_of(identifier: str) -> str:
    """An identifier in the one form that all ways of writing it have; '' when nothing is in it.

    Of a long number the last nine digits: a phone number is written with its country's code and without.
    """
    text = unicodedata.normalize("NFKC", identifier[:MOST_CHARACTERS]).strip()
    if "@" in text:
        return text.casefold()
    text = _APART.sub("", text.upper())
    return text[-PHONE_DIGITS:] if text.isdecimal() else text


def is_same(kind: str, value: str, wanted: str) -> bool:
    """Whether an identifier of a conversation is the wanted one; only phone numbers are told by their end."""
    if form_of(value) != form_of(wanted):
        return False
    ours, theirs = (_APART.sub("", unicodedata.normalize("NFKC", each).upper()) for each in (value, wanted))
    return kind == "phone" or not ours.isdecimal() or ours == theirs
