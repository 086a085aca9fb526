"""Metrics whose labels stay few, read without the library's cost for each look at a label."""

from collections.abc import Sequence
from typing import Any, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

MOST_VALUES = 64
# Of all labels together: what a page of metrics and whoever keeps it can bear of one metric.
MOST_SERIES = 1_024
OTHER = "other"


def gauge(registry: CollectorRegistry, name: str, help: str, together: Literal["min", "max", "sum"]) -> Gauge:
    """One without labels; `together` is what it is of all workers."""
    return Gauge(name, help, registry=registry, multiprocess_mode=together)


class _Labelled:
    """Children of one metric by their label values.

    Kept here because the library's own `labels()` validates at every call, at several microseconds. Every label is
    bounded: after `MOST_VALUES` different values a new one counts as `other`, and after `MOST_SERIES` of all together
    every new one is `other` in all of them.
    """

    def __init__(self, metric: Any) -> None:
        self._metric = metric
        self._children: dict[tuple[str, ...], Any] = {}
        self._seen: dict[int, set[str]] = {}

    def of(self, *values: str) -> Any:
        return self._children.get(values) or self._bounded(values)

    def _bounded(self, values: tuple[str, ...]) -> Any:
        kept = tuple(self._admit(place, value) for place, value in enumerate(values))
        if kept not in self._children and len(self._children) >= MOST_SERIES:
            kept = (OTHER,) * len(values)
        child = self._children.get(kept)
        if child is None:
            child = self._metric.labels(*kept)
            self._children[kept] = child
        return child

    def _admit(self, place: int, value: str) -> str:
        seen = self._seen.setdefault(place, set())
        if value in seen or len(seen) < MOST_VALUES:
            seen.add(value)
            return value
        return OTHER


class Counters(_Labelled):
    def __init__(self, registry: CollectorRegistry, name: str, help: str, labels: Sequence[str]) -> None:
        super().__init__(Counter(name, help, labels, registry=registry))


class Gauges(_Labelled):
    """`together` is what a child is of all workers, those that are gone included."""

    def __init__(
        self,
        registry: CollectorRegistry,
        name: str,
        help: str,
        labels: Sequence[str],
        together: Literal["max", "mostrecent"] = "max",
    ) -> None:
        super().__init__(Gauge(name, help, labels, registry=registry, multiprocess_mode=together))


class Histograms(_Labelled):
    def __init__(
        self, registry: CollectorRegistry, name: str, help: str, labels: Sequence[str], buckets: Sequence[float]
    ) -> None:
        super().__init__(Histogram(name, help, labels, registry=registry, buckets=buckets))
