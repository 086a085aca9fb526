"""Large-margin boundaries over n-grams and embedding, one an intent. Used in training only."""

from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from handrail.serving.routing.rows import Rows, Sparse

Floats = NDArray[np.float32]
Ints = NDArray[np.intp]

EMBEDDING_WEIGHT = 1.5
# Fewer directions than the embedding has: three times faster to train, and no worse on held-out rows.
DIRECTIONS = 64
# A boundary is drawn by its neighbours: each intent meets its nearest rows of other intents and a sample of the rest.
NEAR_NEGATIVES = 1800
OTHER_NEGATIVES = 600
_COST = 1.0
# Out-of-scope examples are few and each stands for much.
_STRANGER_COST, _STRANGER_WEIGHT = 0.3, 5.0
_TOLERANCE = 0.1


@dataclass(frozen=True, slots=True)
class Linear:
    """Coefficients: a row per n-gram, a row per embedding dimension, a bias; a column per intent."""

    terms: Floats
    embedding: Floats
    bias: Floats


def margins(part: Linear, rows: Rows) -> Floats:
    """How far on the right side of each intent's boundary a row lies."""
    sparse = cast(Floats, rows.terms @ part.terms)
    return cast(Floats, sparse + rows.embedding @ part.embedding + part.bias)


def fit_margins(rows: Rows, intents: Ints, count: int, seed: int) -> Linear:
    """One linear support vector machine an intent, against its hardest negatives."""
    from scipy import sparse

    center = rows.embedding.mean(axis=0)
    directions = _principal_directions(rows.embedding - center)
    dense = ((rows.embedding - center) @ directions) * EMBEDDING_WEIGHT
    features: Sparse = sparse.hstack([rows.terms, sparse.csr_matrix(dense)], format="csr", dtype=np.float64)
    nearness = _nearness(rows.terms, intents, count)
    rng = np.random.default_rng(seed)
    width = rows.terms.shape[1]
    terms = np.zeros((width, count), dtype=np.float32)
    reduced = np.zeros((dense.shape[1], count), dtype=np.float32)
    bias = np.full(count, -1.0, dtype=np.float32)
    for intent in range(count):
        chosen = _chosen_rows(nearness[:, intent], intents == intent, rng)
        target = np.where(intents[chosen] == intent, 1, -1)
        if not (target == 1).any():
            continue
        weights, bias[intent] = _one_boundary(features[chosen], target, seed)
        terms[:, intent], reduced[:, intent] = weights[:width], weights[width:]
    embedding = (directions @ reduced) * np.float32(EMBEDDING_WEIGHT)
    return Linear(terms, embedding, bias - center @ embedding)


def fit_stranger(rows: Rows, out_of_scope: NDArray[np.bool_], seed: int) -> Linear:
    """One boundary between all intents together and what is out of scope."""
    from scipy import sparse

    dense = sparse.csr_matrix(rows.embedding * EMBEDDING_WEIGHT)
    features: Sparse = sparse.hstack([rows.terms, dense], format="csr", dtype=np.float64)
    target = np.where(out_of_scope, 1, -1)
    found, bias = _one_boundary(features, target, seed, _STRANGER_COST, {-1: 1.0, 1: _STRANGER_WEIGHT})
    width = rows.terms.shape[1]
    column = found.astype(np.float32)[:, None]
    embedding = column[width:] * np.float32(EMBEDDING_WEIGHT)
    return Linear(column[:width], embedding, np.array([bias], dtype=np.float32))


def _principal_directions(centered: Floats) -> Floats:
    _, vectors = np.linalg.eigh((centered.T @ centered).astype(np.float64))
    return vectors[:, ::-1][:, : min(DIRECTIONS, len(centered))].astype(np.float32)


def _nearness(terms: Sparse, intents: Ints, count: int) -> Floats:
    """Cosine of every row to the mean of every intent."""
    from scipy import sparse

    ones = np.ones(len(intents), dtype=np.float32)
    members = sparse.csr_matrix((ones, (intents, np.arange(len(intents)))), shape=(count, len(intents)))
    centers = cast(Floats, (members @ terms).toarray())
    lengths = np.linalg.norm(centers, axis=1, keepdims=True)
    return cast(Floats, terms @ np.ascontiguousarray((centers / np.maximum(lengths, np.float32(1e-9))).T))


def _chosen_rows(nearness: Floats, own: NDArray[np.bool_], rng: np.random.Generator) -> Ints:
    if len(own) <= int(own.sum()) + NEAR_NEGATIVES + OTHER_NEGATIVES:
        return np.arange(len(own))
    others = np.flatnonzero(~own)
    others = others[np.argpartition(-nearness[others], NEAR_NEGATIVES)]
    sample = rng.choice(others[NEAR_NEGATIVES:], OTHER_NEGATIVES, replace=False)
    return np.sort(np.concatenate([np.flatnonzero(own), others[:NEAR_NEGATIVES], sample]))


def _one_boundary(
    features: Sparse, target: Ints, seed: int, cost: float = _COST, class_weight: dict[int, float] | None = None
) -> tuple[NDArray[np.float64], float]:
    from sklearn.svm import LinearSVC

    model = LinearSVC(C=cost, tol=_TOLERANCE, max_iter=5000, random_state=seed, class_weight=class_weight)
    model.fit(features, target)
    intercept = cast(NDArray[np.float64], model.intercept_)
    return model.coef_[0], float(intercept[0])
