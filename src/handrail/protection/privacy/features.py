"""A text as tokens, and each token as numbers of buckets: word, shape, pieces, neighbours, cues, and what was asked.

Nothing of a text is kept, only hashes of it.
"""

import re
import zlib
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from handrail.protection.privacy.cues import cues_in

BUCKETS = 1 << 16
MOST_TOKENS = 400
_TOKEN = re.compile(r"[^\W_]+(?:['\u2019][^\W\d_]+)?|[^\w\s]|_")
_MASK = BUCKETS - 1
_EDGE = "<>"
# How many ids a token has; those it lacks are the bucket 0, whose weights are 0.
WIDTH = 40
_SHORT = 6

Ids = NDArray[np.int32]


def tokens(text: str) -> list[tuple[int, int]]:
    """Where the tokens of a folded text start and end: words, numbers, single signs; at most `MOST_TOKENS`."""
    found = [match.span() for match in _TOKEN.finditer(text[: 12 * MOST_TOKENS])]
    return found[:MOST_TOKENS]


@lru_cache(maxsize=5000)
def shape(token: str) -> str:
    """`Xx`, `x`, `X`, `d4`, or the sign itself: what a token looks like; digits by number, but for a year."""
    if token.isdigit():
        return "year" if len(token) == 4 and token[:2] in ("19", "20") else f"d{min(len(token), 20)}"
    if not token[0].isalnum():
        return token
    if any(map(str.isdigit, token)):
        return "Xd" if token[0].isalpha() else "dX"
    return "X" if token.isupper() and len(token) > 1 else "Xx" if token[0].isupper() else "x"


def _hash(kind: str, value: str) -> int:
    return zlib.crc32(value.encode("utf-8", "replace"), zlib.crc32(kind.encode())) & _MASK or 1


@lru_cache(maxsize=5000)
def _of_word(token: str) -> tuple[tuple[int, ...], str, str]:
    """What a token says on its own, its lower-case form, its shape."""
    word, form = token.lower(), shape(token)
    if token.isdigit():
        # Digits themselves say little; how many there are says much. Their beginning marks cards.
        found = [_hash("form", form), _hash("lead", form + token[0])]
        return tuple(found), form, form
    padded = f"^{word[:24]}$"
    pieces = [_hash("piece", padded[at : at + 3]) for at in range(min(len(padded) - 2, 8))]
    ends = [_hash("head", word[:4]), _hash("tail2", word[-2:]), _hash("tail3", word[-3:]), _hash("tail4", word[-4:])]
    return (_hash("word", word), _hash("form", form), *pieces, *ends), word, form


@lru_cache(maxsize=5000)
def _crossed(kind: str, first: str, second: str) -> int:
    return _hash(kind, first + "\0" + second)


def ids(text: str, spans: Sequence[tuple[int, int]], asked: str | None) -> Ids:
    """One row a token, `WIDTH` buckets a row."""
    alone = [_of_word(text[start:end]) for start, end in spans]
    words = [_EDGE, _EDGE, *(each[1] for each in alone), _EDGE, _EDGE]
    forms = [_EDGE, _EDGE, *(each[2] for each in alone), _EDGE, _EDGE]
    before, after = _cues_around(text, spans)
    question = asked or "-"
    length = _length(len(spans))
    numbers = str(min(4, sum(text[start].isdigit() for start, _ in spans)))
    whole = " ".join(forms[2:-2]) if len(spans) <= _SHORT else length + numbers
    out = np.zeros((len(spans), WIDTH), dtype=np.int32)
    for place, (own, word, form) in enumerate(alone):
        at = place + 2
        row = [
            *own,
            _crossed("w-1", words[at - 1], ""),
            _crossed("w-2", words[at - 2], ""),
            _crossed("w+1", words[at + 1], ""),
            _crossed("w+2", words[at + 2], ""),
            _crossed("w-1f", words[at - 1], form),
            _crossed("w-2f", words[at - 2] + " " + words[at - 1], form),
            _crossed("w+1f", form, words[at + 1]),
            _crossed("f-1", forms[at - 1], form),
            _crossed("f+1", form, forms[at + 1]),
            _crossed("f3", forms[at - 1] + " " + forms[at + 1], form),
            _crossed("f-2", forms[at - 2] + " " + forms[at - 1], form),
            _crossed("f+2", form, forms[at + 1] + " " + forms[at + 2]),
            _crossed("asked", question, form),
            _crossed("asked_word", question, word),
            _crossed("asked_length", question + length, form),
            _crossed("cue", before[place], form),
            _crossed("cue_kind", before[place].partition("/")[0], form),
            _crossed("cue_word", before[place].partition("/")[0], word),
            _crossed("whole", whole, str(min(place, _SHORT))),
            _crossed("cue_asked", before[place] + question, form),
            _crossed("cue_after", after[place], form),
            _crossed("cues", before[place] + " " + after[place], form),
            _crossed("length", length + numbers, form),
            _crossed("place", str(min(place, 3)) + length, form),
            _crossed("first_word", words[2], form),
        ]
        out[place, : min(WIDTH, len(row))] = row[:WIDTH]
    return out


def _length(count: int) -> str:
    return str(count) if count <= 4 else "8" if count <= 8 else "20" if count <= 20 else "many"


def _cues_around(text: str, spans: Sequence[tuple[int, int]]) -> tuple[list[str], list[str]]:
    """For each token the nearest cue before and after it, with how many numbers lie between."""
    cues = cues_in(text)
    before, after = [], []
    for start, end in spans:
        earlier = [cue for cue in cues if cue[1] <= start]
        later = [cue for cue in cues if cue[0] >= end]
        before.append(f"{earlier[-1][2]}/{_far(text[earlier[-1][1] : start])}" if earlier else "-")
        after.append(f"{later[0][2]}/{_far(text[end : later[0][0]])}" if later else "-")
    return before, after


def _far(between: str) -> str:
    if any(map(str.isdigit, between)):
        return "past"
    return "near" if len(between) <= 12 else "far"
