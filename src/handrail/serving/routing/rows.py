"""Many texts as features, one row a text, and the view a fold has of rows it has not seen. Used in training only."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self, cast

import numpy as np
from numpy.typing import NDArray

from handrail.serving.routing.embedding import Embedding
from handrail.serving.routing.ngrams import CHARACTER_WEIGHT, WORD_WEIGHT, Vocabulary, clean

Floats = NDArray[np.float32]
Ints = NDArray[np.intp]
# A scipy CSR matrix; the types known of it lose track at the first product.
Sparse = Any


@dataclass(frozen=True, slots=True)
class Rows:
    """`terms` holds n-gram weights, `embedding` the vectors, `known_words` the share of words in the vocabulary."""

    terms: Sparse
    embedding: Floats
    known_words: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.embedding)

    def take(self, index: Ints) -> Self:
        return type(self)((self.terms[index]), self.embedding[index], self.known_words[index])

    @classmethod
    def read(cls, texts: Sequence[str], vocabulary: Vocabulary, embedding: Embedding) -> Self:
        from scipy import sparse

        cleaned = [clean(text) for text in texts]
        terms = [vocabulary.terms(text) for text in cleaned]
        starts = np.concatenate([[0], np.cumsum([len(one.ids) for one in terms])])
        parts = (np.concatenate([one.weights for one in terms]), np.concatenate([one.ids for one in terms]), starts)
        return cls(
            sparse.csr_matrix(parts, shape=(len(terms), len(vocabulary)), dtype=np.float32),
            np.stack([embedding.vector(text) for text in cleaned]),
            np.array([one.known_words for one in terms]),
        )


def stacked(*parts: Rows) -> Rows:
    from scipy import sparse

    return Rows(
        sparse.vstack([part.terms for part in parts], format="csr"),
        np.vstack([part.embedding for part in parts]),
        np.concatenate([part.known_words for part in parts]),
    )


def seen_from(training: Rows, held_out: Rows, vocabulary: Vocabulary) -> Rows:
    """The held-out rows as a head trained on `training` alone would read them.

    N-grams that only the held-out rows have are dropped, as they would be from a live query; otherwise held-out rows
    look better known than queries are, and calibration on them is too kind.
    """
    from scipy import sparse

    seen = np.zeros(len(vocabulary), dtype=np.float32)
    seen[training.terms.indices] = 1
    kept = held_out.terms @ sparse.diags(seen, format="csr", dtype=np.float32)
    width = len(vocabulary.words)
    blocks = [_rescaled(kept[:, :width], WORD_WEIGHT), _rescaled(kept[:, width:], CHARACTER_WEIGHT)]
    terms = sparse.hstack(blocks, format="csr", dtype=np.float32)
    singles = vocabulary.singles
    before, after = _count(held_out.terms[:, :width], singles), _count(kept[:, :width], singles * (seen[:width] > 0))
    return Rows(terms, held_out.embedding, held_out.known_words * after / np.maximum(before, 1))


def _rescaled(block: Sparse, scale: float) -> Sparse:
    from scipy import sparse

    lengths = np.sqrt(np.asarray(block.multiply(block).sum(axis=1)).ravel())
    factors = np.divide(scale, lengths, out=np.zeros_like(lengths), where=lengths > 0)
    return sparse.diags(factors, format="csr") @ block


def _count(block: Sparse, columns: NDArray[np.bool_]) -> NDArray[np.float64]:
    present = (block != 0).astype(np.float64)
    return cast(NDArray[np.float64], present @ columns.astype(np.float64))
