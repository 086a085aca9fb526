"""Scores to confidences that mean what they say, fitted on rows the classifiers have not seen."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self, cast

import numpy as np
from numpy.typing import NDArray

from handrail.serving.routing.logistic import SMALLEST, Numbers, fit_logistic, folded, log_odds, sigmoid
from handrail.serving.routing.network import Floats, Ints, softmax

# What a few thousand held-out rows of large data sets come out at: a handful of rows may move it only so far.
USUAL_MARGIN_SCALE, USUAL_OPINION_SCALE, USUAL_LIKELIHOOD_SCALE = 1.7, 0.7, 0.3
_PULL = 3.0
_TRUST_PULL = 1.7
_LEAST_SLOPE, _MOST_SLOPE = 0.2, 5.0
# Log odds added to every confidence, a choice and not a fit: one message in a hundred more is answered unasked, and
# the last of those are right in 89 of 100 cases instead of 90. ECE out of fold grows by 0.003 at most.
_LENIENCE = 0.13


@dataclass(frozen=True, slots=True)
class Scores:
    """What each classifier says of some rows: a row a text, a column an intent."""

    margins: Floats
    opinions: Floats
    likelihoods: Floats

    def only(self, index: Ints | NDArray[np.bool_]) -> Self:
        return type(self)(self.margins[index], self.opinions[index], self.likelihoods[index])

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        return cls(
            np.vstack([part.margins for part in parts]),
            np.vstack([part.opinions for part in parts]),
            np.vstack([part.likelihoods for part in parts]),
        )


@dataclass(frozen=True, slots=True)
class Blend:
    """Inverse temperatures of the three classifiers; their weighted sum is the logits."""

    margin_scale: float = USUAL_MARGIN_SCALE
    opinion_scale: float = USUAL_OPINION_SCALE
    likelihood_scale: float = USUAL_LIKELIHOOD_SCALE

    def logits(self, scores: Scores) -> Floats:
        scaled = (
            scores.margins * np.float32(self.margin_scale),
            scores.opinions * np.float32(self.opinion_scale),
            scores.likelihoods * np.float32(self.likelihood_scale),
        )
        return cast(Floats, sum(scaled))


def fit_blend(scores: Scores, intents: Ints) -> Blend:
    """The temperatures by least log loss, pulled towards the usual ones so that few rows give no false certainty."""
    from scipy.optimize import minimize

    rows = np.arange(len(intents))
    usual = np.log([USUAL_MARGIN_SCALE, USUAL_OPINION_SCALE, USUAL_LIKELIHOOD_SCALE])

    def loss(log_scales: Numbers) -> tuple[float, Numbers]:
        scales = np.exp(log_scales)
        errors = softmax(Blend(*scales.tolist()).logits(scores))
        value = -float(np.log(errors[rows, intents] + 1e-9).sum())
        errors[rows, intents] -= 1
        slope = scales * [
            float(np.vdot(errors, part)) for part in (scores.margins, scores.opinions, scores.likelihoods)
        ]
        away = log_scales - usual
        return value + _PULL * float(away.dot(away)), slope + 2 * _PULL * away

    found = minimize(loss, usual, jac=True, method="L-BFGS-B", bounds=[(-3, 4), (-6, 4), (-6, 4)])
    return Blend(*np.exp(cast(Numbers, found.x)).tolist())


@dataclass(frozen=True, slots=True)
class Trust:
    """How far the first intent is right: its log odds, corrected by the other signals.

    The log odds of the softmax know the scores alone. Whether the nearest training row has the same intent, and how
    much of the text is known, decides many of the close cases.
    """

    center: Numbers
    spread: Numbers
    weights: Numbers
    bias: float

    def chance(self, signals: Numbers) -> Numbers:
        """Of each row of signals."""
        return sigmoid((signals - self.center) / self.spread @ self.weights + self.bias + signals[..., 0])

    def folded(self) -> tuple[list[float], float]:
        """Weights and bias for signals as they come."""
        weights, bias = folded(self.center, self.spread, self.weights, self.bias)
        return [weights[0] + 1, *weights[1:]], bias

    @classmethod
    def fit(cls, signals: Numbers, right: NDArray[np.bool_]) -> Self:
        center, spread = signals.mean(axis=0), signals.std(axis=0) + 1e-3
        inputs = (signals - center) / spread
        weights, bias = fit_logistic(inputs, right, np.ones(len(right)), _TRUST_PULL, signals[:, 0])
        return cls(center, spread, weights, bias)

    @classmethod
    def plain(cls, signals: int) -> Self:
        """The softmax's own confidence, for want of held-out rows."""
        return cls(np.zeros(signals), np.ones(signals), np.zeros(signals), 0.0)


@dataclass(frozen=True, slots=True)
class Curve:
    """The last step, beta calibration: log odds' = rise x log c - fall x log(1 - c) + shift.

    Two slopes, because doubt about the scope bends the middle of the scale and leaves its upper end alone.
    """

    rise: float = 1.0
    fall: float = 1.0
    shift: float = 0.0

    def __call__(self, confidence: Numbers) -> Numbers:
        inside = np.clip(confidence, SMALLEST, 1 - SMALLEST)
        return sigmoid(self.rise * np.log(inside) - self.fall * np.log1p(-inside) + self.shift)

    def at(self, confidence: float) -> float:
        """One value, without the cost of an array."""
        inside = min(max(confidence, SMALLEST), 1 - SMALLEST)
        return 1 / (1 + math.exp(self.fall * math.log1p(-inside) - self.rise * math.log(inside) - self.shift))


def fit_curve(confidence: Numbers, right: NDArray[np.bool_]) -> Curve:
    """Slopes and shift by least log loss over rows in scope, pulled towards no change; then lenience."""
    inside = np.clip(confidence, SMALLEST, 1 - SMALLEST)
    inputs = np.column_stack([np.log(inside), -np.log1p(-inside)])
    weights, shift = fit_logistic(inputs, right, np.ones(len(right)), _PULL, log_odds(confidence))
    rise, fall = np.clip(1 + weights, _LEAST_SLOPE, _MOST_SLOPE).tolist()
    return Curve(rise, fall, min(max(shift, -3.0), 3.0) + _LENIENCE)
