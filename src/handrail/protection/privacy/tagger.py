"""The trained tagger: which tokens are personal, by a linear chain over hashed features (a conditional random field).

Lafferty, McCallum and Pereira, 2001. A head is arrays and a JSON header (decision 5): reading one can give wrong
answers, never run code.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handrail.core.heads import pack, unpack
from handrail.protection.privacy import features
from handrail.protection.privacy.spans import Kind, Span

FORMAT = 1
# A token beside a personal one belongs to it from this chance on.
_MEMBER = 0.5
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Tagger:
    """`weights` is buckets x labels, `moves` labels x labels, `starts` labels; label 0 is nothing personal.

    A span is personal when in one of its tokens the labels other than 0 are together as likely as its kind's threshold.
    """

    labels: tuple[Kind, ...]
    weights: Floats
    moves: Floats
    starts: Floats
    thresholds: Mapping[Kind, float]

    def find(self, text: str, asked: str | None) -> list[Span]:
        """Personal spans of a folded text in order, without overlaps."""
        spans = features.tokens(text)
        if not spans:
            return []
        chances = self.chances(features.ids(text, spans, asked))
        return self._joined(text, spans, chances)

    def chances(self, ids: NDArray[np.int32]) -> Floats:
        """How likely each label is for each token (tokens x labels), given the whole text: forward and backward."""
        scores = self.weights[ids].sum(axis=1)
        own = np.exp(scores - scores.max(axis=1, keepdims=True))
        moves = np.exp(self.moves)
        forward, backward = np.empty_like(own), np.empty_like(own)
        row = own[0] * np.exp(self.starts)
        forward[0] = row / row.sum()
        for place in range(1, len(own)):
            row = (forward[place - 1] @ moves) * own[place]
            forward[place] = row / row.sum()
        backward[-1] = 1
        for place in range(len(own) - 2, -1, -1):
            row = moves @ (own[place + 1] * backward[place + 1])
            backward[place] = row / row.sum()
        both = forward * backward
        return both / both.sum(axis=1, keepdims=True)

    def _joined(self, text: str, spans: Sequence[tuple[int, int]], chances: Floats) -> list[Span]:
        """Neighbours of one kind are one span when one of them reaches its threshold and all reach `_MEMBER`."""
        found: list[Span] = []
        for (start, end), row in zip(spans, chances, strict=True):
            score = 1 - float(row[0])
            if score < _MEMBER:
                continue
            kind = self.labels[int(row[1:].argmax())]
            last = found[-1] if found else None
            if last and last.kind == kind and not text[last.end : start].strip():
                found[-1] = Span(last.start, end, kind, max(last.score, score))
            else:
                found.append(Span(start, end, kind, score))
        return [
            each._replace(score=round(each.score, 3))
            for each in found
            if each.score >= self.thresholds[each.kind] and _could_be(each.kind, text[each.start : each.end])
        ]

    def dump(self) -> bytes:
        thresholds = {kind.value: least for kind, least in self.thresholds.items()}
        arrays: dict[str, NDArray[Any]] = {
            "weights": self.weights.astype(np.float16),
            "moves": self.moves.astype(np.float16),
            "starts": self.starts.astype(np.float16),
        }
        return pack(FORMAT, {"labels": list(self.labels), "thresholds": thresholds}, arrays)

    @classmethod
    def load(cls, data: bytes) -> "Tagger":
        """Raises `ValueError` when it is no head of this format."""
        header, arrays = unpack(FORMAT, data)
        labels = tuple(Kind(each) for each in header["labels"])
        weights, moves, starts = (_array(arrays, name) for name in ("weights", "moves", "starts"))
        count = len(labels) + 1
        if weights.shape != (features.BUCKETS, count) or moves.shape != (count, count) or starts.shape != (count,):
            raise ValueError(
                f"the head's arrays do not fit {count} labels and {features.BUCKETS} buckets; train it again"
            )
        return cls(labels, weights, moves, starts, {kind: float(header["thresholds"][kind]) for kind in labels})


# Without one of these in it, it is no address of e-mail, however messy.
_MAIL = re.compile(r"@|mail|com|net|org|yahoo|outlook", re.IGNORECASE)
_OF_DIGITS = frozenset({Kind.SSN, Kind.CARD, Kind.PHONE, Kind.ACCOUNT})


def _could_be(kind: Kind, found: str) -> bool:
    """Whether a span can be of its kind at all."""
    digits, letters = any(map(str.isdigit, found)), any(map(str.isalpha, found))
    if kind is Kind.PERSON:
        return letters and not digits
    if kind is Kind.EMAIL:
        return letters and _MAIL.search(found) is not None
    return digits if kind in _OF_DIGITS else letters or kind is not Kind.ADDRESS


def _array(arrays: Mapping[str, NDArray[Any]], name: str) -> Floats:
    return arrays[name].astype(np.float32)


@lru_cache(maxsize=1)
def shipped_tagger() -> Tagger:
    """The one that comes with Handrail, loaded once (about 2.5 MB of memory)."""
    return Tagger.load(files("handrail.protection.privacy").joinpath("data/personal_data.npz").read_bytes())
