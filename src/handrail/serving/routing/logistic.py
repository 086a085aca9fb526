"""Logistic regression that stays near what is usual when rows are few. Fitting is for training only."""

import math
from typing import cast

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
SMALLEST = 1e-6


def log_odds(chance: Numbers) -> Numbers:
    inside = np.clip(chance, SMALLEST, 1 - SMALLEST)
    return np.log(inside) - np.log1p(-inside)


def sigmoid(scores: Numbers) -> Numbers:
    return 1 / (1 + np.exp(-np.clip(scores, -30, 30)))


def sigmoid_of(score: float) -> float:
    """The same for one number, without the cost of an array."""
    return 1 / (1 + math.exp(-min(max(score, -30.0), 30.0)))


def folded(center: Numbers, spread: Numbers, weights: Numbers, bias: float) -> tuple[list[float], float]:
    """Weights and bias for values as they come, instead of centred and scaled ones."""
    plain = weights / spread
    return plain.tolist(), bias - float(center.dot(plain))


def fit_logistic(
    inputs: Numbers, target: NDArray[np.bool_], weight: Numbers, pull: float, offset: Numbers | float = 0.0
) -> tuple[Numbers, float]:
    """Weights and bias by least weighted log loss of `sigmoid(inputs @ weights + bias + offset)`.

    `pull` times the squared weights is added, so that without evidence the answer is the offset's. Rows that are all
    of one kind are fine.
    """
    from scipy.optimize import minimize

    count = inputs.shape[1]

    def loss(values: Numbers) -> tuple[float, Numbers]:
        scores = inputs @ values[:count] + values[count] + offset
        value = float(weight.dot(np.logaddexp(0, scores) - target * scores)) + pull * float(values.dot(values))
        error = weight * (sigmoid(scores) - target)
        return value, np.append(inputs.T @ error, error.sum()) + 2 * pull * values

    found = minimize(loss, np.zeros(count + 1), jac=True, method="L-BFGS-B", options={"maxiter": 500})
    values = cast(Numbers, found.x)
    return values[:count], float(values[count])
