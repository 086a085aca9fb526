"""How far from the others one may be."""

import math
from collections.abc import Sequence
from statistics import median

# A population without any spread would make the second of anything unusual.
LEAST_SPREAD = 0.2
# One of two kinds of people would make nothing unusual.
MOST_SPREAD = 1.0
NORMAL_MAD = 1.4826


def robust_limit(values: Sequence[float], deviations: float) -> float:
    """What hardly anybody exceeds: median and median absolute deviation of logarithms, so that a few who do far more
    do not raise it."""
    logs = [math.log1p(value) for value in values]
    centre = median(logs)
    spread = NORMAL_MAD * median(abs(value - centre) for value in logs)
    spread = min(max(spread, LEAST_SPREAD), MOST_SPREAD)
    # Behind it no number of events is a number any more.
    return math.expm1(min(centre + deviations * spread, 50.0))
