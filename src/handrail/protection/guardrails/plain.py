"""The cheap gate before the classifier: is this short message made of everyday words, none of which attacks are made
of?

Most messages of customers are, and they need no classifier, which costs a third of a millisecond when its arrays are
not in the processor's cache. Which words is measured (`scripts/injection/plain.py`); they are kept as numbers.
"""

import io
import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import numpy as np

MOST_CHARACTERS = 120
# A name, a place, a product: one word that is in neither list.
MOST_UNKNOWN = 1
_PLAIN = re.compile(r"(?!.*\S{25})[a-z0-9 .,?!'$%&@:;()/-]*\Z")
_WORD = re.compile(r"[a-z]+")
# Everyday words that make an instruction together.
_TOGETHER = re.compile(
    r"\b(?:you(?:'re| are| have| will| must| can now| love| were)|are (?:to|now)|now on|from now|act as|not to"
    r"|not supposed|not allowed|refuse)\b"
)


@dataclass(frozen=True, slots=True)
class PlainWords:
    """Numbers of `everyday` words, and of `cues`: words that attacks use more than customers do."""

    everyday: frozenset[int]
    cues: frozenset[int]

    def is_plain(self, folded: str) -> bool:
        """Whether the text needs no closer look."""
        if len(folded) > MOST_CHARACTERS or _PLAIN.match(folded) is None or _TOGETHER.search(folded) is not None:
            return False
        words = {zlib.crc32(word.encode()) for word in _WORD.findall(folded)}
        return self.cues.isdisjoint(words) and len(words - self.everyday) <= MOST_UNKNOWN

    @classmethod
    def of(cls, everyday: Iterable[str], cues: Iterable[str]) -> "PlainWords":
        return cls(*(frozenset(zlib.crc32(word.encode()) for word in words) for words in (everyday, cues)))

    def dump(self) -> bytes:
        out = io.BytesIO()
        lists = {name: np.array(sorted(each), dtype=np.uint32) for name, each in self._lists().items()}
        np.savez_compressed(out, allow_pickle=False, **lists)
        return out.getvalue()

    @classmethod
    def load(cls, data: bytes) -> "PlainWords":
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            return cls(frozenset(arrays["everyday"].tolist()), frozenset(arrays["cues"].tolist()))

    def _lists(self) -> dict[str, frozenset[int]]:
        return {"everyday": self.everyday, "cues": self.cues}


@lru_cache(maxsize=1)
def shipped_plain_words() -> PlainWords:
    """Those that come with Handrail."""
    return PlainWords.load(files("handrail.protection.guardrails").joinpath("data/plain_words.npz").read_bytes())
