"""A text in the pieces it is judged by: sentences, lines and the strings of JSON, each bounded, never too many.

An attack in a tool's result is a sentence among many: read as a whole it drowns.
"""

import re
from collections.abc import Iterator

from handrail.core import json

MOST_SEGMENTS = 256
MOST_CHARACTERS = 600
_SHORTEST = 12
_DEEPEST = 24
_END = re.compile(r"(?<=[.!?。！？])[\"')\]]*\s+|\n+|(?<=[。！？])|\|(?=[A-Z ]+:)|<!--|-->")


def segments(text: str) -> list[str]:
    """The pieces, in order. What is beyond the bound of pieces is judged in longer ones."""
    found = list(_pieces(_strings_of(text)))
    if len(found) <= MOST_SEGMENTS:
        return found
    rest = " ".join(found[MOST_SEGMENTS // 2 :])
    size = max(MOST_CHARACTERS, -(-len(rest) // (MOST_SEGMENTS // 2)))
    return found[: MOST_SEGMENTS // 2] + [rest[start : start + size] for start in range(0, len(rest), size)]


def _pieces(strings: Iterator[str]) -> Iterator[str]:
    for string in strings:
        pending = ""
        for piece in _END.split(string):
            pending = f"{pending} {piece}".strip() if pending else piece.strip()
            if len(pending) >= _SHORTEST:
                yield from _cut(pending)
                pending = ""
        if pending:
            yield pending


def _cut(piece: str) -> Iterator[str]:
    """A piece without an end is cut between words."""
    while len(piece) > MOST_CHARACTERS:
        at = piece.rfind(" ", MOST_CHARACTERS // 2, MOST_CHARACTERS)
        at = at if at > 0 else MOST_CHARACTERS
        yield piece[:at]
        piece = piece[at:].strip()
    if piece:
        yield piece


def _strings_of(text: str) -> Iterator[str]:
    """The strings of a JSON document; the text itself when it is none."""
    if text.lstrip()[:1] not in ("{", "[", '"'):
        yield text
        return
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        yield text
        return
    yield from _walk(value, 0)


def _walk(value: object, depth: int) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif depth > _DEEPEST:
        yield json.dumps(value)
    elif isinstance(value, dict):
        for key, each in value.items():
            yield str(key)
            yield from _walk(each, depth + 1)
    elif isinstance(value, list):
        for each in value:
            yield from _walk(each, depth + 1)
