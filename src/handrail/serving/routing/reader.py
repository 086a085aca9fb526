"""A head's parts laid out for one text at a time: whatever multiplies the same numbers stands in one table.

Routing is a large share of a turn's CPU, and most of what it cost was the number of small operations, not their size.
"""

from dataclasses import dataclass
from operator import mul

import numpy as np
from numpy.typing import NDArray

from handrail.serving.routing.logistic import sigmoid_of
from handrail.serving.routing.ngrams import Terms
from handrail.serving.routing.parts import Parts
from handrail.serving.routing.signals import Neighbours, read_scores

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Intents by number, likeliest first, and how likely each is beside the first; see `Prediction`."""

    ranked: list[int]
    shares: list[float]
    confidence: float
    out_of_scope: float


class Reader:
    """Single precision: it multiplies twenty times as fast as half does."""

    def __init__(self, parts: Parts) -> None:
        network, gate, near = parts.network, parts.gate, parts.neighbours
        labels = len(parts.bias)
        by_terms, by_vector = [parts.coefficients], [parts.vector_coefficients, network.hidden, near.directions]
        added = [parts.bias + network.output_bias, network.hidden_bias, np.zeros(near.directions.shape[1])]
        if gate is not None:
            by_terms.append(gate.stranger_terms[:, None])
            by_vector += [gate.stranger_vector[:, None], gate.vector_weights[:, None]]
            added.append(np.array([gate.stranger_bias, 0.0]))
        self._by_terms = _table(by_terms)
        self._by_vector = _table(by_vector)
        self._added = np.concatenate(added).astype(np.float32)
        self._output = _table([network.output])
        self._inner = slice(labels, labels + network.hidden.shape[1])
        self._along = slice(self._inner.stop, self._inner.stop + near.directions.shape[1])
        self._labels = labels
        self._near = Neighbours(near.directions, _table([near.vectors]), near.starts)
        self._trust, self._gate = parts.trust.folded(), None if gate is None else gate.folded()
        self._curve = parts.curve

    def read(self, terms: Terms, vector: Floats) -> Verdict:
        """What the text means, how sure that is, and how likely it is about something else."""
        by_terms: Floats = terms.weights @ self._by_terms.take(terms.ids, axis=0)
        by_vector: Floats = vector @ self._by_vector
        by_vector += self._added
        labels = self._labels
        inner = by_vector[self._inner]
        logits: Floats = np.maximum(inner, 0, out=inner) @ self._output
        logits += by_vector[:labels]
        logits += by_terms[:labels]
        reading = read_scores(logits, terms.known_words, by_vector[self._along], self._near)
        weights, bias = self._trust
        trust = sigmoid_of(sum(map(mul, weights, reading.signals), bias))
        out_of_scope = 0.0
        if self._gate is not None:
            weights, bias = self._gate
            stranger = float(by_terms[labels]) + float(by_vector[-2])
            score = sum(map(mul, weights, [*reading.signals, stranger]), bias)
            out_of_scope = sigmoid_of(score + float(by_vector[-1]))
        confidence = self._curve.at(trust * (1 - out_of_scope))
        return Verdict(reading.ranked, reading.shares, confidence, out_of_scope)


def _table(columns: list[Floats]) -> Floats:
    return np.ascontiguousarray(np.hstack(columns), dtype=np.float32)
