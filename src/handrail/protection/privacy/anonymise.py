"""Texts without their people: what is personal is replaced by its kind, numbers and codes by their name, and every
word that only a few users used by a mark.

The detectors miss some names; a name that few people share is a rare word, and goes with it.
"""

import hashlib
import os
import re
from collections.abc import Iterable, Iterator

from handrail.protection.privacy.detector import find_personal_data
from handrail.protection.privacy.handles import HANDLE, LOOK_ALIKE
from handrail.protection.privacy.spans import Kind

CELLS = 1 << 22
MOST_COUNTED = 255
RARE = "[RARE]"
_MOST_DIGITS = 3
# An address of the web, a handle, digits with what stands between them, a word.
_PIECES = re.compile(
    r"(?P<url>(?:https?://|www\.)\S+)|(?P<handle>@\w+)|(?P<number>(?<!\w)\d(?:[ .,/:()+-]{0,2}\d)*(?!\w))"
    r"|(?P<word>\w+(?:['\u2019]\w+)*)"
)
# What we write ourselves; what else stands in brackets was said by somebody.
_NAMES = "|".join((*Kind, "RARE", "CODE", "NUMBER", "URL", "HANDLE"))
_MARK = re.compile(rf"\[(?:{_NAMES})\]")
_RUN = re.compile(r"\[RARE\](?:[\s,;'\u2019-]*\[RARE\])+")


class Vocabulary:
    """How many users used a word, in four megabytes however many words there are: never too few, rarely too many."""

    def __init__(self, *, cells: int = CELLS) -> None:
        self._cells = cells
        self._counts = bytearray(cells)
        self._salt = os.urandom(16)

    def add(self, words: Iterable[str]) -> None:
        """What one user used, each word once."""
        for word in words:
            one, other = self._places(word)
            count = min(self._counts[one], self._counts[other])
            if count < MOST_COUNTED:
                self._counts[one] = max(self._counts[one], count + 1)
                self._counts[other] = max(self._counts[other], count + 1)

    def count(self, word: str) -> int:
        return min(self._counts[each] for each in self._places(word))

    def _places(self, word: str) -> tuple[int, int]:
        digest = hashlib.blake2b(word.encode("utf-8", "surrogatepass"), key=self._salt, digest_size=8).digest()
        return int.from_bytes(digest[:4]) % self._cells, int.from_bytes(digest[4:]) % self._cells


def without_people(text: str, previous: str | None = None) -> str:
    """The text with `[PERSON]`, `[EMAIL]`, ... for what is personal and `[NUMBER]`, `[CODE]`, `[URL]`, `[HANDLE]` for
    what could lead to somebody; `previous` is the question that it answers."""
    parts: list[str] = []
    at = 0
    text = HANDLE.sub(_kind_of, text)
    for span in find_personal_data(text, previous):
        parts += [_PIECES.sub(_named, text[at : span.start]), f"[{span.kind}]"]
        at = span.end
    return "".join([*parts, _PIECES.sub(_named, text[at:])])


def words_of(text: str) -> set[str]:
    """The words of a text without people, as they are counted."""
    return {each.group("word").casefold() for _, piece in _split(text) for each in _words(piece)}


def without_rare_words(text: str, vocabulary: Vocabulary, least: int) -> str:
    """The same text with `[RARE]` for words that fewer users used."""

    def kept(word: re.Match[str]) -> str:
        said = word.group()
        if word.lastgroup != "word" or said.isdecimal() or vocabulary.count(said.casefold()) >= least:
            return said
        return RARE

    masked = "".join(piece if is_mark else _PIECES.sub(kept, piece) for is_mark, piece in _split(text))
    return _RUN.sub(RARE, masked)


def _split(text: str) -> Iterator[tuple[bool, str]]:
    """The pieces of a text, and which of them are marks."""
    at = 0
    for mark in _MARK.finditer(text):
        yield False, text[at : mark.start()]
        yield True, mark.group()
        at = mark.end()
    yield False, text[at:]


def _words(text: str) -> Iterator[re.Match[str]]:
    return (each for each in _PIECES.finditer(text) if each.lastgroup == "word" and not each.group().isdecimal())


def _kind_of(handle: re.Match[str]) -> str:
    kind = handle.group()[1:].rpartition("_")[0]
    return "[CODE]" if kind == LOOK_ALIKE else f"[{kind.upper()}]"


def _named(piece: re.Match[str]) -> str:
    said = piece.group()
    digits = sum(each.isdecimal() for each in said)
    if piece.lastgroup == "url":
        return "[URL]"
    if piece.lastgroup == "handle":
        return "[HANDLE]"
    if piece.lastgroup == "number":
        return said if digits <= _MOST_DIGITS else "[NUMBER]"
    return "[CODE]" if digits and digits != len(said) else "[NUMBER]" if digits > _MOST_DIGITS else said
