"""What a head's confidences are worth: accuracy by band, calibration error, text out of scope, and time a query."""

import gc
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from handrail.serving.routing.head import IntentHead
    from handrail.serving.routing.training import Example

OUT_OF_SCOPE = "oos"
BINS = 15
EXECUTE, CONFIRM = 0.9, 0.6
_RESAMPLES = 500
_WARM_UP = 50

Numbers = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Figures:
    """Shares of rows. Everything but `oos_autonomous` is over rows in scope; an empty band has no accuracy (None)."""

    n: int
    accuracy: float
    ece: float
    ece_interval: tuple[float, float]
    accuracy_above_0_9: float | None
    coverage_above_0_9: float
    accuracy_0_6_to_0_9: float | None
    coverage_0_6_to_0_9: float
    accuracy_below_0_6: float | None
    coverage_below_0_6: float
    oos_n: int
    oos_autonomous: float | None
    oos_confirmed: float | None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """`figures` on the given rows, and wall time of single queries in milliseconds."""

    figures: Figures
    p50_ms: float
    p95_ms: float


def evaluate(head: "IntentHead", rows: Sequence["Example"]) -> Evaluation:
    """Predicts every row alone, as a turn would. Rows with intent `oos` count as out of scope."""
    for row in rows[:_WARM_UP]:
        head.predict(row.text)
    confidence, right, outside = np.zeros(len(rows)), np.zeros(len(rows), bool), np.zeros(len(rows), bool)
    milliseconds = np.zeros(len(rows))
    # A collection in the middle of a query would be timed as the query's own.
    gc.collect()
    gc.freeze()
    for index, row in enumerate(rows):
        start = time.perf_counter()
        prediction = head.predict(row.text)
        milliseconds[index] = (time.perf_counter() - start) * 1000
        confidence[index] = prediction.confidence
        outside[index] = row.intent == OUT_OF_SCOPE
        right[index] = prediction.intent == row.intent
    gc.unfreeze()
    told = figures(confidence[~outside], right[~outside], confidence[outside] if outside.any() else None)
    p50, p95 = np.percentile(milliseconds, [50, 95]).tolist() if len(rows) else (0.0, 0.0)
    return Evaluation(told, p50, p95)


def figures(confidence: Numbers, right: Flags, outside: Numbers | None) -> Figures:
    above, middle = confidence > EXECUTE, (confidence > CONFIRM) & (confidence <= EXECUTE)
    below = ~above & ~middle
    return Figures(
        n=len(confidence),
        accuracy=_mean(right) or 0.0,
        ece=calibration_error(confidence, right),
        ece_interval=_interval(confidence, right),
        accuracy_above_0_9=_mean(right[above]),
        coverage_above_0_9=_mean(above) or 0.0,
        accuracy_0_6_to_0_9=_mean(right[middle]),
        coverage_0_6_to_0_9=_mean(middle) or 0.0,
        accuracy_below_0_6=_mean(right[below]),
        coverage_below_0_6=_mean(below) or 0.0,
        oos_n=0 if outside is None else len(outside),
        oos_autonomous=None if outside is None else _mean(outside > EXECUTE),
        oos_confirmed=None if outside is None else _mean((outside > CONFIRM) & (outside <= EXECUTE)),
    )


def calibration_error(confidence: Numbers, right: Flags, bins: int = BINS) -> float:
    """Expected calibration error: mean gap between confidence and accuracy over bins of equal width."""
    if not len(confidence):
        return 0.0
    place = np.minimum((confidence * bins).astype(np.intp), bins - 1)
    gaps = np.bincount(place, weights=confidence - right, minlength=bins)
    return float(np.abs(gaps).sum() / len(confidence))


def _interval(confidence: Numbers, right: Flags) -> tuple[float, float]:
    """95 % of bootstrap resamples. It leans upwards: resampling adds noise that ECE counts as error."""
    if not len(confidence):
        return 0.0, 0.0
    rng = np.random.default_rng(0)
    picks = (rng.integers(0, len(confidence), len(confidence)) for _ in range(_RESAMPLES))
    low, high = np.percentile(
        [calibration_error(confidence[pick], right[pick]) for pick in picks], [2.5, 97.5]
    ).tolist()
    return low, high


def _mean(values: Flags) -> float | None:
    return float(values.mean()) if len(values) else None
