"""Scores to confidences that mean what they say, fitted on rows the classifiers have not seen."""

import math
from dataclasses import dataclass
from typing import Self, cast

import numpy as np
from numpy.typing import NDArray

from handrail.serving.routing.logistic import SMALLEST, Numbers, fit_logistic, log_odds, sigmoid
from handrail.serving.routing.network import Floats, Ints, softmax

# What a few thousand held-out rows of large data sets come out at: a handful of rows may move it only so far.
USUAL_MARGIN_SCALE, USUAL_OPINION_SCALE = 3.0, 0.6
_PULL = 3.0
_TRUST_PULL = 1.7
# Log odds added to every confidence, a choice and not a fit: one message in a hundred more is answered unasked, and
# the last of those are right in 88 of 100 cases instead of 90. ECE out of fold stays where it was, within 0.003.
LENIENCE = 0.2


@dataclass(frozen=True, slots=True)
class Blend:
    """Inverse temperatures of the two classifiers; their weighted sum is the logits."""

    margin_scale: float = USUAL_MARGIN_SCALE
    opinion_scale: float = USUAL_OPINION_SCALE

    def logits(self, margins: Floats, opinions: Floats) -> Floats:
        return cast(Floats, margins * np.float32(self.margin_scale) + opinions * np.float32(self.opinion_scale))


def fit_blend(margins: Floats, opinions: Floats, intents: Ints) -> Blend:
    """Both temperatures by least log loss, pulled towards the usual ones so that few rows give no false certainty."""
    from scipy.optimize import minimize

    rows = np.arange(len(intents))
    usual = np.log([USUAL_MARGIN_SCALE, USUAL_OPINION_SCALE])

    def loss(log_scales: Numbers) -> tuple[float, Numbers]:
        first, second = np.exp(log_scales)
        errors = softmax(Blend(float(first), float(second)).logits(margins, opinions))
        value = -float(np.log(errors[rows, intents] + 1e-9).sum())
        errors[rows, intents] -= 1
        slope = np.array([first * float((errors * margins).sum()), second * float((errors * opinions).sum())])
        away = log_scales - usual
        return value + _PULL * float(away.dot(away)), slope + 2 * _PULL * away

    found = minimize(loss, usual, jac=True, method="L-BFGS-B", bounds=[(-3, 4), (-6, 4)])
    first, second = np.exp(cast(Numbers, found.x))
    return Blend(float(first), float(second))


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
        """One value for one row of signals, or an array for many."""
        return sigmoid((signals - self.center) / self.spread @ self.weights + self.bias + signals[..., 0])

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
    """The last step: confidence' = sigmoid(slope x log odds(confidence) + shift)."""

    slope: float = 1.0
    shift: float = 0.0

    def __call__(self, confidence: Numbers) -> Numbers:
        return sigmoid(self.slope * log_odds(confidence) + self.shift)

    def at(self, confidence: float) -> float:
        """One value, without the cost of an array."""
        inside = min(max(confidence, SMALLEST), 1 - SMALLEST)
        odds = math.log(inside) - math.log1p(-inside)
        return 1 / (1 + math.exp(-(self.slope * odds + self.shift)))


def fit_curve(confidence: Numbers, right: NDArray[np.bool_], lenience: float) -> Curve:
    """Slope and shift by least log loss over rows in scope, pulled towards no change; then lenience."""
    odds = log_odds(confidence)
    weights, shift = fit_logistic(odds[:, None], right, np.ones(len(right)), _PULL, odds)
    return Curve(min(max(1 + float(weights[0]), 0.2), 3.0), min(max(shift, -3.0), 3.0) + lenience)
