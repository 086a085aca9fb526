"""What a share of few can tell, and how far from the others one may be."""

import math
from collections.abc import Sequence
from statistics import median

_Z = 1.96
# A population without any spread would make the second of anything unusual.
LEAST_SPREAD = 0.2
# One of two kinds of people would make nothing unusual.
MOST_SPREAD = 1.0
NORMAL_MAD = 1.4826


def wilson(bad: float, count: int) -> tuple[float, float]:
    """Between which shares the true one lies, 19 times of 20."""
    if count <= 0:
        return 0.0, 1.0
    share, square = bad / count, _Z * _Z
    middle = share + square / (2 * count)
    half = _Z * math.sqrt(max(share * (1 - share), 0.0) / count + square / (4 * count * count))
    scale = 1 + square / count
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


def robust_limit(values: Sequence[float], deviations: float) -> float:
    """What hardly anybody exceeds: median and median absolute deviation of logarithms, so that a few who do far more
    do not raise it."""
    logs = [math.log1p(value) for value in values]
    centre = median(logs)
    spread = NORMAL_MAD * median(abs(value - centre) for value in logs)
    spread = min(max(spread, LEAST_SPREAD), MOST_SPREAD)
    # Behind it no number of events is a number any more.
    return math.expm1(min(centre + deviations * spread, 50.0))
