"""A second opinion: one hidden layer over the embedding alone, trained in numpy in a second or two.

A margin is linear and sees every n-gram; this is curved and sees only the meaning. They err on different texts, so
together they are surer of what both see: two points more of all messages above 0.9 on Banking77.
"""

from dataclasses import dataclass
from typing import Self, cast

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.intp]

HIDDEN = 512
_EPOCHS = 10
_FEWEST_STEPS = 80
_BATCH = 256
_LEARNING_RATE = 3e-3
_DECAY = 1e-2
_DROPPED = 0.4
_SMOOTHING = 0.1
_WARM_UP = 0.15
_FIRST_MOMENT, _SECOND_MOMENT = 0.9, 0.98


@dataclass(frozen=True, slots=True)
class Network:
    """`relu(vectors @ hidden + hidden_bias) @ output + output_bias`: a score an intent."""

    hidden: Floats
    hidden_bias: Floats
    output: Floats
    output_bias: Floats

    def scores(self, vectors: Floats) -> Floats:
        """One row for one vector, or many for many."""
        inner = np.maximum(vectors @ self.hidden + self.hidden_bias, 0)
        return inner @ self.output + self.output_bias

    def scaled(self, factor: float) -> Self:
        """The same opinion, said `factor` times as loudly."""
        loud = np.float32(factor)
        return type(self)(self.hidden, self.hidden_bias, self.output * loud, self.output_bias * loud)


def softmax(scores: Floats) -> Floats:
    shifted = np.exp(scores - scores.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def fit_network(vectors: Floats, intents: Ints, count: int, seed: int) -> Network:
    """AdamW with a one-cycle rate, dropout and label smoothing; the scaling of the inputs is folded in."""
    rng = np.random.default_rng(seed)
    center = vectors.mean(axis=0)
    scale = 1 / (float((vectors - center).std()) + 1e-6)
    inputs = (vectors - center) * np.float32(scale)
    optimiser = _Adam(_start(inputs.shape[1], count, rng))
    per_epoch = -(-len(inputs) // _BATCH)
    steps = max(_EPOCHS * per_epoch, _FEWEST_STEPS)
    order = rng.permutation(len(inputs))
    for step in range(steps):
        place = step % per_epoch
        if place == 0:
            order = rng.permutation(len(inputs))
        batch = order[place * _BATCH : (place + 1) * _BATCH]
        slopes = _slopes(optimiser.weights, inputs[batch], intents[batch], rng)
        optimiser.step(slopes, _LEARNING_RATE * _cycle((step + 1) / steps))
    first, first_bias, second, second_bias = optimiser.weights
    first = first * np.float32(scale)
    return Network(first, first_bias - center @ first, second, second_bias)


def _start(width: int, count: int, rng: np.random.Generator) -> list[Floats]:
    first = rng.standard_normal((width, HIDDEN), dtype=np.float32) * np.float32(np.sqrt(2 / width))
    second = rng.standard_normal((HIDDEN, count), dtype=np.float32) * np.float32(np.sqrt(1 / HIDDEN))
    return [first, np.zeros(HIDDEN, dtype=np.float32), second, np.zeros(count, dtype=np.float32)]


def _cycle(progress: float) -> float:
    return min(1.0, progress / _WARM_UP) * (1 - progress)


def _slopes(weights: list[Floats], inputs: Floats, intents: Ints, rng: np.random.Generator) -> list[Floats]:
    first, first_bias, second, second_bias = weights
    inner: Floats = inputs @ first + first_bias
    open_ = (inner > 0) & (rng.random(inner.shape, dtype=np.float32) > _DROPPED)
    passed = open_.astype(np.float32) * np.float32(1 / (1 - _DROPPED))
    inner *= passed
    error = softmax(cast(Floats, inner @ second + second_bias))
    error -= np.float32(_SMOOTHING / error.shape[1])
    error[np.arange(len(intents)), intents] -= np.float32(1 - _SMOOTHING)
    error /= np.float32(len(intents))
    back = cast(Floats, (error @ second.T) * passed)
    return [inputs.T @ back, back.sum(axis=0), inner.T @ error, error.sum(axis=0)]


class _Adam:
    def __init__(self, weights: list[Floats]) -> None:
        self.weights = weights
        self._first = [np.zeros_like(weight) for weight in weights]
        self._second = [np.zeros_like(weight) for weight in weights]
        self._steps = 0

    def step(self, slopes: list[Floats], rate: float) -> None:
        self._steps += 1
        first_scale = np.float32(rate / (1 - _FIRST_MOMENT**self._steps))
        second_scale = np.float32(1 / (1 - _SECOND_MOMENT**self._steps))
        parts = zip(self.weights, slopes, self._first, self._second, strict=True)
        for weight, slope, first, second in parts:
            first += np.float32(1 - _FIRST_MOMENT) * (slope - first)
            second += np.float32(1 - _SECOND_MOMENT) * (slope * slope - second)
            if weight.ndim > 1:
                weight *= np.float32(1 - rate * _DECAY)
            weight -= first_scale * first / (np.sqrt(second * second_scale) + np.float32(1e-6))
