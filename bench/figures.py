"""The statistics of the benchmark: percentiles of one round, and the median and spread over rounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True)
class Figure:
    """A measured figure: the median of its rounds, and the lowest and highest round."""

    median: float
    low: float
    high: float

    def as_json(self) -> dict[str, float]:
        """The figure as it stands in the last line printed."""
        return {"median": round(self.median, 4), "low": round(self.low, 4), "high": round(self.high, 4)}


def over_rounds(values: Sequence[float]) -> Figure:
    """The figure that several rounds gave."""
    if not values:
        raise ValueError("a figure needs at least one round")
    return Figure(median(values), min(values), max(values))


def ratios(numerators: Sequence[float], denominators: Sequence[float]) -> list[float]:
    """Ratios within each round, so that a slow spell of the machine hits both sides of a ratio."""
    return [above / below for above, below in zip(numerators, denominators, strict=True)]


def percentile(values: Sequence[float], percent: float) -> float:
    """The percentile by linear interpolation between the two nearest ranks."""
    if not values:
        raise ValueError("a percentile needs at least one value")
    ordered = sorted(values)
    rank = (len(ordered) - 1) * percent / 100
    below = int(rank)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (rank - below)
