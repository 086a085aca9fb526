"""One spelling for digits, dashes and blanks, so that exotic characters hide nothing; places in the text stay known."""

import re
import unicodedata
from collections.abc import Sequence

from handrail.protection.privacy.spans import Span

_INVISIBLE = frozenset({"Cf", "Mn", "Me"})
_ESCAPE = re.compile(r"""\\(?:[\\/"'bfnrt]|u00[01][0-9a-fA-F])""")


def without_escapes(text: str) -> str:
    """Blanks for what JSON writes for breaks of lines and quotes, so that `\\nann@example.org` begins with an `a`.

    As long as it was, so that places mean the same in both.
    """
    return _ESCAPE.sub(_blank, text) if "\\" in text else text


def _blank(escape: re.Match[str]) -> str:
    return escape[0] if escape[0] in ("\\\\", "\\/") else " " * len(escape[0])


def fold(text: str) -> tuple[str, Sequence[int] | None]:
    """The text in compatibility form without invisible characters, and where each of its characters came from.

    Nothing to map (`None`) for ASCII. One character gives one or none, so that a place means the same in both.
    """
    text = without_escapes(text)
    if text.isascii():
        return text, None
    characters: list[str] = []
    places: list[int] = []
    for place, character in enumerate(text):
        plain = character if character < "\x80" else _plain(character)
        if plain:
            characters.append(plain)
            places.append(place)
    return "".join(characters), places


def _plain(character: str) -> str:
    category = unicodedata.category(character)
    if category in _INVISIBLE:
        return ""
    if category == "Nd":
        return str(unicodedata.digit(character))
    if category == "Pd" or character == "\u2212":
        return "-"
    if category == "Zs":
        return " "
    compatible = unicodedata.normalize("NFKC", character)
    return compatible if len(compatible) == 1 else character


def unfold(span: Span, places: Sequence[int] | None) -> Span:
    """The span in the text as it was written."""
    if places is None:
        return span
    return span._replace(start=places[span.start], end=places[span.end - 1] + 1)
