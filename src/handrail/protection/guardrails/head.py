"""The trained classifier: two linear heads a channel, one over words and one over characters, averaged.

A head is arrays and a JSON header (decision 5): reading one can give wrong answers, never run code.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from handrail.core.heads import pack, unpack
from handrail.protection.guardrails.features import (
    CHARACTER_BUCKETS,
    WORD_BUCKETS,
    Ids,
    character_ids,
    tokens,
    weighted,
    word_ids,
)

Channel = Literal["user", "tool"]
CHANNELS: tuple[Channel, ...] = get_args(Channel)
FORMAT = 1
_BUCKETS = {"words": WORD_BUCKETS, "characters": CHARACTER_BUCKETS}

# Half as precise and half as large; what is looked up is calculated with in single precision.
Halves = NDArray[np.float16]


@dataclass(frozen=True, slots=True)
class Linear:
    """One logistic regression over hashed n-grams."""

    idf: Halves
    weights: Halves
    bias: float

    def logit(self, ids: Ids) -> float:
        once, weights = weighted(ids, self.idf)
        return float(weights.dot(self.weights.take(once).astype(np.float32))) + self.bias


@dataclass(frozen=True, slots=True)
class InjectionHead:
    """For each channel its two heads, and the score from which a text is flagged unless a deployment says otherwise."""

    parts: Mapping[Channel, tuple[Linear, Linear]]
    thresholds: Mapping[Channel, float]

    def logit(self, folded: str, channel: Channel) -> float:
        """How much more likely the text is an attack than not, as log odds."""
        words, characters = self.parts[channel]
        return (words.logit(word_ids(tokens(folded))) + characters.logit(character_ids(folded))) / 2

    def dump(self) -> bytes:
        arrays: dict[str, NDArray[Any]] = {}
        bias: dict[str, float] = {}
        for channel, pair in self.parts.items():
            for kind, part in zip(_BUCKETS, pair, strict=True):
                arrays[f"{channel}_{kind}_idf"] = part.idf
                arrays[f"{channel}_{kind}_weights"] = part.weights
                bias[f"{channel}_{kind}"] = part.bias
        return pack(FORMAT, {"thresholds": dict(self.thresholds), "bias": bias}, arrays)

    @classmethod
    def load(cls, data: bytes) -> "InjectionHead":
        """Raises `ValueError` when it is no head of this format."""
        header, arrays = unpack(FORMAT, data)
        return cls(
            {channel: (_part(arrays, header, channel, "words"), _part(arrays, header, channel, "characters"))
             for channel in CHANNELS},
            {channel: float(header["thresholds"][channel]) for channel in CHANNELS},
        )  # fmt: skip


def _part(arrays: Mapping[str, NDArray[Any]], header: Any, channel: Channel, kind: str) -> Linear:
    idf, weights = (arrays[f"{channel}_{kind}_{name}"] for name in ("idf", "weights"))
    if not idf.shape == weights.shape == (_BUCKETS[kind],):
        raise ValueError(f"the head's {kind} have {idf.shape} buckets and {_BUCKETS[kind]} are read; train it again")
    return Linear(idf, weights, float(header["bias"][f"{channel}_{kind}"]))


def chance(logit: float) -> float:
    return 1 / (1 + math.exp(-min(max(logit, -30.0), 30.0)))


def log_odds(chance: float) -> float:
    inside = min(max(chance, 1e-9), 1 - 1e-9)
    return math.log(inside / (1 - inside))


@lru_cache(maxsize=1)
def shipped_head() -> InjectionHead:
    """The one that comes with Handrail, loaded once (about 3 MB of memory)."""
    return InjectionHead.load(files("handrail.protection.guardrails").joinpath("data/injection.npz").read_bytes())
