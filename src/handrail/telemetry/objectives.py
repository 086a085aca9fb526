"""What Prometheus reads of agents' objectives, and of turns that were slower than theirs."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry

from handrail.telemetry.labelled import Counters, Gauges


@dataclass(frozen=True, slots=True)
class Promise:
    """The objective of an agent: shares of turns between 0 and 1, and seconds by latency class."""

    availability: float
    latency_share: float
    latency_seconds: Mapping[str, float]

    def stricter(self, other: "Promise | None") -> "Promise":
        """The stricter of both in everything: agents of two tenants may have one name, and no metric tells whose."""
        if other is None:
            return self
        both = [*self.latency_seconds.items(), *other.latency_seconds.items()]
        seconds = {name: min(limit for each, limit in both if each == name) for name, _ in both}
        return Promise(
            max(self.availability, other.availability), max(self.latency_share, other.latency_share), seconds
        )


class ObjectiveMetrics:
    """A part of `Metrics`, in its registry. Until it was told of an agent's objective, no turn of it is slow."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._limits: dict[tuple[str, str], float] = {}
        self._shares: dict[tuple[str, str], float] = {}
        self._share = Gauges(
            registry, "handrail_objective_ratio", "Share of turns that an agent's objective asks to be good.",
            ("agent", "objective"), together="mostrecent",
        )  # fmt: skip
        self._seconds = Gauges(
            registry, "handrail_objective_seconds", "After so long a turn of the class is slow.",
            ("agent", "latency_class"), together="mostrecent",
        )  # fmt: skip
        self._slow = Counters(
            registry, "agent_slow", "Turns that took longer than their agent's objective.", ("agent", "latency_class")
        )

    def tell(self, promises: Mapping[str, Promise]) -> None:
        """What is promised now, by agent; what is no longer promised is not a number."""
        shares = {
            (agent, name): share
            for agent, each in promises.items()
            for name, share in (("availability", each.availability), ("latency", each.latency_share))
        }
        limits = {
            (agent, name): limit for agent, each in promises.items() for name, limit in each.latency_seconds.items()
        }
        for key in (shares.keys() | self._shares.keys()) if shares != self._shares else ():
            self._share.of(*key).set(shares.get(key, math.nan))
        for key in (limits.keys() | self._limits.keys()) if limits != self._limits else ():
            self._seconds.of(*key).set(limits.get(key, math.nan))
            # A counter that first shows up at 1 has never risen, as Prometheus sees it.
            self._slow.of(*key)
        self._shares, self._limits = shares, limits

    def took(self, agent: str, latency_class: str, seconds: float) -> None:
        """A turn has ended."""
        limit = self._limits.get((agent, latency_class))
        if limit is not None and seconds > limit:
            self._slow.of(agent, latency_class).inc()
