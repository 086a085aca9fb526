"""A folded text as hashed n-grams: words, pairs and triples for one head, characters for the other.

Nothing of a text is kept, only numbers of buckets. Characters are hashed by a rolling sum over the bytes, all at once:
a loop over n-grams would cost a millisecond for a long message.
"""

import re
import zlib
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

WORD_BUCKETS = 1 << 17
CHARACTER_BUCKETS = 1 << 18
MOST_CHARACTERS = 4000
SIZES = (3, 4, 5)
_TOKEN = re.compile(r"[^\W\d_]+(?:'[a-z]+)?|\d+|[^\w\s]")
_IDEOGRAPH = re.compile(r"([\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af])")
_PRIME = np.uint32(16777619)
_MIX = np.uint32(2654435761)

Ids = NDArray[np.intp]


def tokens(folded: str) -> list[str]:
    """Words, numbers as one mark, and every other sign alone; ideographs are words of their own."""
    text = folded[:MOST_CHARACTERS]
    if not text.isascii():
        text = _IDEOGRAPH.sub(r" \1 ", text)
    return ["0" if token[0].isdigit() else token for token in _TOKEN.findall(text)]


@lru_cache(maxsize=4000)
def _key(token: str) -> tuple[int, bytes]:
    tail = token.encode("utf-8", "replace")
    return zlib.crc32(tail), b" " + tail


def word_ids(words: list[str]) -> Ids:
    """Buckets of words, pairs, and pairs with one word between; one row a kind of n-gram that occurs."""
    keys = [_key(word) for word in ["<", *words, ">"]]
    found = [key for key, _ in keys]
    found += [zlib.crc32(second[1], first[0]) for first, second in pairwise(keys)]
    found += [zlib.crc32(third[1], zlib.crc32(b" _", first[0])) for first, third in zip(keys, keys[2:], strict=False)]
    return np.array(found, dtype=np.intp) % WORD_BUCKETS


def character_ids(folded: str) -> Ids:
    """Buckets of three to five characters (bytes), across words."""
    raw = np.frombuffer(f" {folded[:MOST_CHARACTERS]} ".encode("utf-8", "replace"), dtype=np.uint8).astype(np.uint32)
    blocks: list[NDArray[np.uint32]] = []
    sums = raw.copy()
    for size in range(2, SIZES[-1] + 1):
        if len(raw) < size:
            break
        sums = sums[:-1] * _PRIME ^ raw[size - 1 :]
        if size in SIZES:
            blocks.append(((sums + np.uint32(size)) * _MIX) >> np.uint32(14))
    return np.concatenate(blocks).astype(np.intp) if blocks else np.empty(0, dtype=np.intp)


def weighted(ids: Ids, idf: NDArray[np.float16]) -> tuple[Ids, NDArray[np.float32]]:
    """Each bucket once, with its weight of sublinear tf x idf; together of length one."""
    if not len(ids):
        return ids, np.empty(0, dtype=np.float32)
    ids = np.sort(ids)
    starts = np.flatnonzero(np.concatenate(([True], ids[1:] != ids[:-1])))
    once = ids.take(starts)
    weights = idf.take(once).astype(np.float32)
    if len(once) < len(ids):
        counts = np.diff(starts, append=len(ids)).astype(np.float32)
        weights = weights * (1 + np.log(counts))
    length = float(np.sqrt(weights.dot(weights)))
    return once, weights / np.float32(length) if length else weights
