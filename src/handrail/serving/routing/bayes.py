"""Naive Bayes over words and word pairs: how much likelier each is in each intent. Used in training only.

A boundary looks for what tells an intent from its nearest rivals and forgets the rest; a likelihood counts every word
that speaks for an intent. Both are linear, so a head adds them into one table and a query pays nothing for the second.
"""

from typing import cast

import numpy as np
from numpy.typing import NDArray

from handrail.serving.routing.rows import Rows

Floats = NDArray[np.float32]
Ints = NDArray[np.intp]

# A hundredth of what one example gives a word: little smoothing, because the boundaries keep a rare word from deciding.
_UNSEEN = 0.005


def fit_likelihoods(rows: Rows, intents: Ints, count: int, words: int) -> Floats:
    """Log likelihood of each of the first `words` n-grams (a row) in each intent (a column), less the row's mean."""
    from scipy import sparse

    ones = np.ones(len(intents), dtype=np.float32)
    members = sparse.csr_matrix((ones, (intents, np.arange(len(intents)))), shape=(count, len(intents)))
    seen = cast(Floats, (members @ rows.terms[:, :words]).toarray()) + np.float32(_UNSEEN)
    logs: Floats = np.log(seen / seen.sum(axis=1, keepdims=True)).T
    return np.ascontiguousarray(logs - logs.mean(axis=1, keepdims=True))


def likelihoods(table: Floats, rows: Rows) -> Floats:
    """The words' log likelihoods, weighted and summed, of every row in every intent."""
    return cast(Floats, rows.terms[:, : len(table)] @ table)
