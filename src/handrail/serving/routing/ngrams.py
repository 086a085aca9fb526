"""Word and character n-grams with sublinear tf-idf weights: the same code reads training rows and live queries."""

import math
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

WORD_WEIGHT = 1.1
CHARACTER_WEIGHT = 0.9
MAX_CHARACTERS = 2000
_SHORTEST, _LONGEST = 2, 5
_WORD = re.compile(r"\w+(?:'\w+)?")
_CACHED_TOKENS = 4000
# By how often an n-gram occurs in a text of at most 2,000 characters.
_SUBLINEAR = 1 + np.log(np.maximum(np.arange(2 * MAX_CHARACTERS + 1, dtype=np.float32), 1))
# Of many texts, word pairs that occur in one and characters that occur in few are half of all n-grams and tell nothing.
_MANY, _LEAST_OF_MANY = 2000, (2, 4)


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


class _Word(NamedTuple):
    """A word's hash, its row if it is known, and its bytes as the second word of a pair."""

    key: int
    row: int | None
    tail: bytes


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
        self._word = lru_cache(maxsize=_CACHED_TOKENS)(self._look_up_word)
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
        least_words, least_characters = _LEAST_OF_MANY if len(cleaned) >= _MANY else (1, 1)
        for text in cleaned:
            found = words_of(text)
            singles.update(map(_key, found))
            words.update({_key(term) for term in _word_terms(found)})
            characters.update({key for token in text.split() for key in keys_of_token(token)})
        kept = (
            [key for key, texts in words.items() if texts >= least_words or key in singles],
            [key for key, texts in characters.items() if texts >= least_characters],
        )
        blocks = [np.array(sorted(block), dtype=np.uint32) for block in kept]
        counts = [words[key] for key in blocks[0].tolist()] + [characters[key] for key in blocks[1].tolist()]
        idf = (np.log((1 + len(cleaned)) / (1 + np.array(counts, dtype=np.float64))) + 1).astype(np.float32)
        return cls(blocks[0], blocks[1], idf, np.isin(blocks[0], np.array(sorted(singles), dtype=np.uint32)))

    def terms(self, cleaned: str) -> Terms:
        words = [self._word(word) for word in words_of(cleaned)]
        distinct = set(words)
        known = sum(word.row is not None for word in distinct)
        rows = [word.row for word in words if word.row is not None]
        find = self._word_ids.get
        pairs = (find(zlib.crc32(second.tail, first.key)) for first, second in pairwise(words))
        rows += [row for row in pairs if row is not None]
        blocks = [np.array(rows, dtype=np.intp), *map(self._ids_of_token, cleaned.split())]
        # Always a copy, sorted in place: the cached arrays must not change.
        ids, weights = self._weigh(np.concatenate(blocks))
        return Terms(ids, weights, known / len(distinct) if distinct else 0.0)

    def _look_up_word(self, word: str) -> "_Word":
        key = _key(word)
        return _Word(key, self._word_ids.get(key), f" {word}".encode())

    def _look_up_token(self, token: str) -> NDArray[np.intp]:
        find = self._character_ids.get
        found: Iterable[int] = (row for key in _character_keys(token) if (row := find(key)) is not None)
        return np.fromiter(found, dtype=np.intp)

    def _weigh(self, rows: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        """Each id once; sublinear tf x idf, words and characters each of their own length.

        By hand: `np.unique` costs three times as much here.
        """
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
            counts = np.empty(len(ids), dtype=np.intp)
            np.subtract(starts[1:], starts[:-1], out=counts[:-1])
            counts[-1] = len(rows) - starts[-1]
            weights *= _SUBLINEAR.take(counts, mode="clip")
        words = int(ids.searchsorted(len(self.words)))
        for block, length in ((weights[:words], WORD_WEIGHT), (weights[words:], CHARACTER_WEIGHT)):
            if len(block):
                block *= np.float32(length / math.sqrt(float(block.dot(block))))
        return ids, weights
