"""The out-of-scope gate: a small logistic regression that asks whether any intent fits at all.

The intent classifier must name one of its intents, and is often sure of the wrong one when the text is about something
else. The gate looks at how the scores lie, how many words are known, how near the training rows are, and the text's
own vector. Confidence is multiplied by 1 - p(out of scope).
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from handrail.serving.routing.linear import Linear
from handrail.serving.routing.logistic import Numbers, fit_logistic, folded, sigmoid

Floats = NDArray[np.float32]

# How much of the traffic is assumed to be out of scope, whatever the number of examples. Whoever collects such
# examples has such traffic. Generic ones say nothing about it, and believing them more than this costs more answers
# in scope than it stops outside.
PRIOR_GIVEN, PRIOR_GENERIC = 0.3, 0.03
_VECTOR_WEIGHT = 1.5
_PULL = 0.5


@dataclass(frozen=True, slots=True)
class Gate:
    """Weights over the signals (scaled by `center` and `spread`) and over the text's vector.

    The last signal is the gate's own: the stranger margin, from one boundary between all intents together and what is
    out of scope. Questions out of scope have a wording of their own, which no intent's boundary looks for.
    """

    center: Numbers
    spread: Numbers
    weights: Numbers
    vector_weights: Floats
    bias: float
    stranger_terms: Floats
    stranger_vector: Floats
    stranger_bias: float

    def doubt(self, signals: Numbers, vectors: Floats) -> Numbers:
        """How likely each text is out of scope."""
        scores = (signals - self.center) / self.spread @ self.weights
        return sigmoid(scores + vectors @ self.vector_weights + self.bias)

    def folded(self) -> tuple[list[float], float]:
        """Weights and bias for signals as they come."""
        return folded(self.center, self.spread, self.weights, self.bias)

    @classmethod
    def fit(
        cls, signals: Numbers, vectors: Floats, out_of_scope: NDArray[np.bool_], stranger: Linear, prior: float
    ) -> Self:
        center, spread = signals.mean(axis=0), signals.std(axis=0) + 1e-3
        inputs: Numbers = np.hstack([(signals - center) / spread, vectors.astype(np.float64) * _VECTOR_WEIGHT])
        strangers = int(out_of_scope.sum())
        shares = np.where(out_of_scope, prior / strangers, (1 - prior) / (len(inputs) - strangers))
        weights, bias = fit_logistic(inputs, out_of_scope, shares * len(inputs), _PULL)
        count = signals.shape[1]
        of_vector = (weights[count:] * _VECTOR_WEIGHT).astype(np.float32)
        own = (stranger.terms[:, 0], stranger.embedding[:, 0], float(stranger.bias[0]))
        return cls(center, spread, weights[:count], of_vector, bias, *own)
