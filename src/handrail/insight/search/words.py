"""Words of a text as they are searched for: folded, so that case, accents and width do not matter."""

import re
import unicodedata
from collections.abc import Iterator
from typing import NamedTuple

SHORTEST = 2
LONGEST = 64
# Said in nearly every conversation, so that nobody is found by them.
_FREQUENT = (
    "an and are as at be been but by can do for from had has have he her his how if in is it its me my no not of on or "
    "our please she so that the their them then there they this to us was we were what when which who will with would "
    "yes you your"
)
STOP_WORDS = frozenset(_FREQUENT.split())

# Scripts that put no blanks between words, or endings onto them: two characters at a time.
_PAIRED = (
    "\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u3040-\u30ff\u3130-\u318f\u3400-\u4dbf\u4e00-\u9fff"
    "\uac00-\ud7af\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
)
# Accents and vowel signs that stand behind their letter are part of the word, though no letters.
_MARKS = (
    "\u0300-\u036f\u0483-\u0487\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u064b-\u065f\u0670"
    "\u06d6-\u06dc\u0900-\u0903\u093a-\u094f\u0980-\u0983\u09bc-\u09cd\u0a01-\u0a03\u0a3c-\u0a4d\u0a81-\u0a83"
    "\u0abc-\u0acd\u0b01-\u0b03\u0b3c-\u0b4d\u0b82\u0bbe-\u0bcd\u0c00-\u0c04\u0c3e-\u0c4d\u0c81-\u0c83\u0cbc-\u0ccd"
    "\u0d00-\u0d03\u0d3b-\u0d4d"
)
_WORD = re.compile(rf"[{_PAIRED}]+|(?:[^\W_{_PAIRED}]|[{_MARKS}])+")
_IS_PAIRED = re.compile(rf"[{_PAIRED}]")


class Word(NamedTuple):
    """A word as it is searched for, and where it stands in the text."""

    text: str
    start: int
    end: int


def words_in(text: str) -> Iterator[Word]:
    """Every word of a text in its order, short and frequent ones too; of some scripts, every two characters."""
    for found in _WORD.finditer(text):
        written = found[0]
        if _IS_PAIRED.match(written):
            yield from _pairs(written, found.start())
        elif folded := fold(written):
            yield Word(folded[:LONGEST], *found.span())


def fold(word: str) -> str:
    """The word without what writers differ in."""
    if word.isascii():
        return word.lower()
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", word).casefold())
    return "".join(each for each in decomposed if not unicodedata.combining(each)).casefold()


def is_told(word: str) -> bool:
    """Whether a word is kept in the index."""
    return len(word) >= SHORTEST and word not in STOP_WORDS


def _pairs(written: str, start: int) -> Iterator[Word]:
    """Half-width kana and Hangul letters have other forms of the same characters."""
    if len(written) == 1:
        yield Word(unicodedata.normalize("NFKC", written), start, start + 1)
    for place in range(len(written) - 1):
        pair = unicodedata.normalize("NFKC", written[place : place + 2])
        yield Word(pair, start + place, start + place + 2)
