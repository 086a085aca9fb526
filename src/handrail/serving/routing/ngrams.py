"""Word and character n-grams with sublinear tf-idf weights: the same code reads training rows and live queries."""

import math
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

WORD_WEIGHT = 1.1
CHARACTER_WEIGHT = 0.9
MAX_CHARACTERS = 2000
_SHORTEST, _LONGEST = 2, 5
_WORD = re.compile(r"\w+(?:'\w+)?")
_CACHED_TOKENS = 20_000


def clean(text: str) -> str:
    """Lower case, curly apostrophes made straight, cut at 2,000 characters, safe to encode as UTF-8."""
    text = text[:MAX_CHARACTERS].lower().replace("\u2019", "'")
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def words_of(cleaned: str) -> list[str]:
    return _WORD.findall(cleaned)


def _word_terms(words: Sequence[str]) -> list[str]:
    return [*words, *(f"{first} {second}" for first, second in pairwise(words))]


def _character_terms(token: str) -> list[str]:
    padded = f" {token} "
    length = len(padded)
    return [
        padded[start : start + size]
        for size in range(_SHORTEST, min(_LONGEST, length) + 1)
        for start in range(length - size + 1)
    ]


def _key(term: str) -> int:
    return zlib.crc32(term.encode())


def _character_keys(token: str) -> list[int]:
    return [_key(term) for term in _character_terms(token)]


@dataclass(frozen=True, slots=True)
class Terms:
    """The known n-grams of one text: rows of the coefficient table and their weights."""

    ids: NDArray[np.intp]
    weights: NDArray[np.float32]
    known_words: float


class Vocabulary:
    """Which n-grams the head knows, and how rare each is. Words come first, then character n-grams.

    N-grams are kept as 32-bit hashes: no piece of anyone's text travels with a head. Of 65,000 n-grams about one pair
    shares a hash, and an unknown n-gram passes for a known one once in 65,000 times.
    """

    def __init__(
        self,
        words: NDArray[np.uint32],
        characters: NDArray[np.uint32],
        idf: NDArray[np.float32],
        singles: NDArray[np.bool_] | None = None,
    ) -> None:
        self.words = words
        self.characters = characters
        self.idf = idf
        self.singles = np.zeros(len(words), dtype=np.bool_) if singles is None else singles
        self._word_ids = {key: index for index, key in enumerate(words.tolist())}
        self._character_ids = {key: len(words) + index for index, key in enumerate(characters.tolist())}
        self._ids_of_token = lru_cache(maxsize=_CACHED_TOKENS)(self._look_up_token)

    def __len__(self) -> int:
        return len(self.words) + len(self.characters)

    @classmethod
    def of(cls, cleaned: Sequence[str]) -> "Vocabulary":
        """Every n-gram of the given texts, in the order of the hashes so that equal rows give equal bytes.

        Only such a vocabulary knows its `singles`, the hashes of single words; training needs them, a head does not.
        """
        words, characters, singles = Counter[int](), Counter[int](), set[int]()
        keys_of_token = lru_cache(maxsize=None)(_character_keys)
        for text in cleaned:
            found = words_of(text)
            singles.update(map(_key, found))
            words.update({_key(term) for term in _word_terms(found)})
            characters.update({key for token in text.split() for key in keys_of_token(token)})
        blocks = [np.array(sorted(block), dtype=np.uint32) for block in (words, characters)]
        counts = [words[key] for key in blocks[0].tolist()] + [characters[key] for key in blocks[1].tolist()]
        idf = (np.log((1 + len(cleaned)) / (1 + np.array(counts, dtype=np.float64))) + 1).astype(np.float32)
        return cls(blocks[0], blocks[1], idf, np.isin(blocks[0], np.array(sorted(singles), dtype=np.uint32)))

    def terms(self, cleaned: str) -> Terms:
        words = words_of(cleaned)
        counts = Counter(words)
        known = 0
        for word in counts:
            known += _key(word) in self._word_ids
        ids, weights = self._weigh(self._word_rows(words), WORD_WEIGHT)
        more_ids, more_weights = self._weigh(self._character_rows(cleaned), CHARACTER_WEIGHT)
        return Terms(
            np.concatenate((ids, more_ids)),
            np.concatenate((weights, more_weights)),
            known / len(counts) if counts else 0.0,
        )

    def _word_rows(self, words: Sequence[str]) -> NDArray[np.intp]:
        find = self._word_ids.get
        return np.array([row for term in _word_terms(words) if (row := find(_key(term))) is not None], dtype=np.intp)

    def _character_rows(self, cleaned: str) -> NDArray[np.intp]:
        rows = [self._ids_of_token(token) for token in cleaned.split()]
        # Always a copy: the caller sorts in place, and the cached arrays must not change.
        return np.concatenate(rows) if rows else np.empty(0, dtype=np.intp)

    def _look_up_token(self, token: str) -> NDArray[np.intp]:
        find = self._character_ids.get
        found: Iterable[int] = (row for key in _character_keys(token) if (row := find(key)) is not None)
        return np.fromiter(found, dtype=np.intp)

    def _weigh(self, rows: NDArray[np.intp], scale: float) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        """Each id once; sublinear tf x idf, of length `scale`. By hand: `np.unique` costs three times as much here."""
        if not len(rows):
            return rows, np.empty(0, dtype=np.float32)
        rows.sort()
        first = np.empty(len(rows), dtype=np.bool_)
        first[0] = True
        np.not_equal(rows[1:], rows[:-1], out=first[1:])
        starts = np.flatnonzero(first)
        ids = rows.take(starts)
        weights = self.idf.take(ids)
        if len(ids) < len(rows):
            counts = np.empty(len(ids), dtype=np.float32)
            np.subtract(starts[1:], starts[:-1], out=counts[:-1])
            counts[-1] = len(rows) - starts[-1]
            weights *= 1 + np.log(counts)
        weights *= np.float32(scale / math.sqrt(float(weights.dot(weights))))
        return ids, weights
