"""What the scores of one text look like from outside: the evidence for trust in the first intent and for the gate."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.intp]

COUNT = 9
# Enough rows to know what lies near a text, few enough to compare with all of them in 20 microseconds.
_KEPT = 2000
_FIFTH = 5


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Vectors of training rows, sorted by intent; those of intent i are `starts[i]` to `starts[i + 1]`."""

    vectors: Floats
    starts: Ints

    @classmethod
    def of(cls, vectors: Floats, intents: Ints, count: int) -> Self:
        """An equal share for each intent, taken evenly over its rows."""
        share = max(1, _KEPT // count)
        chosen = [_spread(np.flatnonzero(intents == intent), share) for intent in range(count)]
        starts = np.concatenate([[0], np.cumsum([len(rows) for rows in chosen])]).astype(np.intp)
        return cls(vectors[np.concatenate(chosen)], starts)


def signals_of(
    logits: Floats, chances: Floats, known_words: float, vector: Floats, neighbours: Neighbours
) -> NDArray[np.float64]:
    """Log odds first; then the two highest logits, their gap, entropy, share of known words, and three cosines."""
    top = int(chances.argmax())
    first = float(chances[top])
    second, highest = np.partition(logits, -2)[-2:].tolist()
    entropy = -float(chances.dot(np.log(chances + np.float32(1e-9))))
    cosines = neighbours.vectors @ vector
    nth = min(_FIFTH, len(cosines))
    fifth = float(np.partition(cosines, -nth)[-nth])
    own = cosines[neighbours.starts[top] : neighbours.starts[top + 1]]
    same = float(own.max()) if len(own) else 0.0
    own[:] = -1
    odds = float(np.log((first + 1e-4) / (max(1 - first, 0.0) + 1e-4)))
    return np.array([odds, highest, second, highest - second, entropy, known_words, fifth, same, float(cosines.max())])


def _spread(rows: Ints, most: int) -> Ints:
    if len(rows) <= most:
        return rows
    return rows[np.linspace(0, len(rows) - 1, most).astype(np.intp)]
