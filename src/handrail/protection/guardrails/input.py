"""One form for every message: composed, visible characters, bounded length.

NFC and not NFKC: the text is the user's and must read as it was written (a superscript, a full-width name); the
folding that detectors of look-alikes want is theirs to do on a copy.

Taken out is what a reader can't see but a model, a log or a terminal acts on: control characters, bidirectional
overrides and isolates, zero-width spaces, tag characters and the supplementary variation selectors that can carry
hidden text. The joiners (U+200C, U+200D) stay, for Persian, Indic scripts and emoji need them; so do the direction
marks (U+200E, U+200F) and the emoji selectors.
"""

import re
import unicodedata
from collections.abc import Iterable
from typing import Protocol

from handrail.core.errors import UsageError

# Longest run of combining marks; UAX #15 allows 30 in a stream that is safe to normalise. Normalising is quadratic in
# a run: 16,000 marks on one letter took 0.26 s.
MOST_MARKS = 30
# How much longer the raw text may be than the limit before it is refused unread.
RAW_FACTOR = 4

_LINE_BREAKS = re.compile("\r\n?|[\x0b\x0c\x85\u2028\u2029]")
_ASCII_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f]")
_UNSEEN = re.compile(
    "["
    "\x00-\x08\x0e-\x1f\x7f-\x9f"
    "\xad\u180e\u200b\u2060-\u2064\ufeff"  # soft hyphen, zero-width spaces, invisible operators, BOM
    "\u202a-\u202e\u2066-\u206f"  # bidirectional embeddings, overrides, isolates, deprecated format characters
    "\ufff9-\ufffb\ufdd0-\ufdef\ufffe\uffff"  # annotation marks, non-characters
    "\ud800-\udfff"  # halves of surrogate pairs: no text at all
    "\U000e0000-\U000e007f\U000e0100-\U000e01ef"  # tags and supplementary variation selectors
    "]"
)


class InvalidMessage(UsageError):
    """The text can't be taken as a message."""

    code = "invalid_message"

    def __init__(self, message: str) -> None:
        super().__init__(message, param="message")


class InputLimits(Protocol):
    """`input:` in policies.yaml."""

    @property
    def max_characters(self) -> int: ...


def strictest(limits: Iterable[InputLimits]) -> InputLimits:
    """Of several limits that all hold, the one that accepts least."""
    return min(limits, key=lambda each: each.max_characters)


def admit_text(text: object, limits: InputLimits) -> str:
    """The message as it is stored and answered.

    Raises:
        InvalidMessage: it is no text, empty, or too long.
    """
    if not isinstance(text, str):
        raise InvalidMessage(f"a message is text, not {type(text).__name__}; send a JSON string")
    most = limits.max_characters
    if len(text) > most * RAW_FACTOR:
        raise _too_long(len(text), most)
    clean = _clean(text).strip()
    if not clean:
        raise InvalidMessage("the message is empty; write what you want to ask or say")
    if len(clean) > most:
        raise _too_long(len(clean), most)
    return clean


def _too_long(characters: int, most: int) -> InvalidMessage:
    return InvalidMessage(f"the message has {characters:,} characters and {most:,} are allowed; shorten or split it")


def _clean(text: str) -> str:
    if text.isascii() and not _ASCII_UNSEEN.search(text):
        return text
    text = _UNSEEN.sub("", _LINE_BREAKS.sub("\n", text))
    if text.isascii() or unicodedata.is_normalized("NFC", text):
        return text
    return unicodedata.normalize("NFC", _thin_out_marks(text))


def _thin_out_marks(text: str) -> str:
    """Leave at most `MOST_MARKS` combining marks in a row."""
    kept: list[str] = []
    run = 0
    for character in text:
        run = run + 1 if unicodedata.combining(character) else 0
        if run <= MOST_MARKS:
            kept.append(character)
    return "".join(kept)
