"""What the scores of one text look like from outside: the evidence for trust in the first intent and for the gate."""

import math
from dataclasses import dataclass
from typing import Self, cast

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.intp]

COUNT = 8
# Enough rows to know what lies near a text, few enough to compare with all of them in three microseconds.
_KEPT = 2000
# So many directions of the embedding tell near from far as well as all of them do, in a tenth of the time.
NEAR_DIRECTIONS = 32
_RANKED = 3


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Training rows along the `directions` that tell most, of length one; intent i has `starts[i]:starts[i + 1]`."""

    directions: Floats
    vectors: Floats
    starts: Ints

    @classmethod
    def of(cls, vectors: Floats, intents: Ints, count: int) -> Self:
        chosen, starts = sample_of(intents, count)
        kept = vectors[chosen]
        _, found = np.linalg.eigh((kept.T @ kept).astype(np.float64))
        directions = np.ascontiguousarray(found[:, ::-1][:, :NEAR_DIRECTIONS].astype(np.float32))
        along: Floats = kept @ directions
        lengths = np.linalg.norm(along, axis=1, keepdims=True)
        return cls(directions, along / np.maximum(lengths, np.float32(1e-6)), starts)


@dataclass(frozen=True, slots=True)
class Reading:
    """Up to three intents, likeliest first, how likely each is beside the first, and the signals.

    The signals: log odds first; then the two highest logits, their gap, entropy, share of known words, and two
    cosines: to the nearest training row of the same intent and to the nearest of another.
    """

    ranked: list[int]
    shares: list[float]
    signals: list[float]


def read_scores(logits: Floats, known_words: float, along: Floats, neighbours: Neighbours) -> Reading:
    """`along` is the text's vector along the neighbours' directions, of any length.

    Single numbers are Python's own here: an operation on an array of one costs ten times as much.
    """
    top = int(logits.argmax())
    highest = float(logits[top])
    shifted = logits - logits[top]
    shares = np.exp(shifted)
    total = float(np.add.reduce(shares))
    entropy = math.log(total) - float(shares.dot(shifted)) / total
    odds = math.log((1 + 1e-4 * total) / (max(total - 1, 0.0) + 1e-4 * total))
    ranked, share_of = [top], [1.0]
    for _ in range(min(_RANKED, len(shares)) - 1):
        shares[ranked[-1]] = -1
        ranked.append(int(shares.argmax()))
        share_of.append(float(shares[ranked[-1]]))
    second = float(logits[ranked[1]])
    near = _nearness(top, along, neighbours)
    return Reading(ranked, share_of, [odds, highest, second, highest - second, entropy, known_words, *near])


def _nearness(top: int, along: Floats, neighbours: Neighbours) -> tuple[float, float]:
    length = math.sqrt(float(along.dot(along))) or 1.0
    cosines = cast(Floats, neighbours.vectors @ along)
    own = cosines[neighbours.starts[top] : neighbours.starts[top + 1]]
    same = float(own.max()) if len(own) else 0.0
    own[:] = -length
    return same / length, float(cosines.max()) / length


def sample_of(intents: Ints, count: int) -> tuple[Ints, Ints]:
    """An equal share of rows for each intent, taken evenly over its rows, and where each intent's begin."""
    share = max(1, _KEPT // count)
    chosen = [_spread(np.flatnonzero(intents == intent), share) for intent in range(count)]
    starts = np.concatenate([[0], np.cumsum([len(rows) for rows in chosen])]).astype(np.intp)
    return np.concatenate(chosen), starts


def _spread(rows: Ints, most: int) -> Ints:
    if len(rows) <= most:
        return rows
    return rows[np.linspace(0, len(rows) - 1, most).astype(np.intp)]
