"""Latencies counted in logarithmic buckets: a percentile is at most 5 % off, and counts can be added and taken off.

A bucket reaches from 95/105 of its upper edge to the edge; its value is the one that is equally far, in proportion,
from both. Below a millisecond all is one bucket. A day, in milliseconds, is bucket 183.
"""

import math
from collections.abc import Mapping

RELATIVE_ERROR = 0.05
_GROWTH = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
_LOG_GROWTH = math.log(_GROWTH)
_UNIT_MICROS = 1000


def bucket_of(micros: int) -> int:
    """The bucket of a time; everything up to a millisecond is in the first."""
    if micros <= _UNIT_MICROS:
        return 0
    return math.ceil(math.log(micros / _UNIT_MICROS) / _LOG_GROWTH)


def value_of(bucket: int) -> int:
    """The time that stands for a bucket."""
    if bucket <= 0:
        return _UNIT_MICROS
    return round(_UNIT_MICROS * 2 * _GROWTH**bucket / (1 + _GROWTH))


def slower_than(seconds: float, counts: Mapping[int, int]) -> int:
    """So many took longer, each as long as stands for its bucket."""
    return sum(count for bucket, count in counts.items() if value_of(bucket) > seconds * 1_000_000)


def edges_of(bucket: int) -> tuple[float, float]:
    """What a bucket's times are above, and at most."""
    if bucket <= 0:
        return 0.0, float(_UNIT_MICROS)
    return _UNIT_MICROS * _GROWTH ** (bucket - 1), _UNIT_MICROS * _GROWTH**bucket


def percentile(counts: Mapping[int, int], share: float) -> int | None:
    """The time that this share of all stays within, by nearest rank, within `RELATIVE_ERROR`; None of nothing."""
    total = sum(counts.values())
    if total <= 0:
        return None
    rank, seen = max(1, math.ceil(share * total)), 0
    for bucket in sorted(counts):
        seen += counts[bucket]
        if seen >= rank:
            return value_of(bucket)
    return value_of(max(counts))
