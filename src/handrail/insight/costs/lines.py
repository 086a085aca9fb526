"""Lines of the ledger, summed by what one wants to tell apart. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from types import MappingProxyType
from typing import Any

from handrail.core.usage import Usage

# What lines may be told apart by, and the fields that say it.
GROUPS = MappingProxyType(
    {
        "day": ("day",),
        "agent": ("agent",),
        "model": ("provider", "model"),
        "release": ("release_id",),
        "intent": ("intent",),
    }
)


@dataclass(frozen=True, slots=True)
class UsageLine:
    """Calls with something in common; a field that they were not told apart by is None.

    Sums leave out what was not told; None when it never was. `unpriced_calls` says how many calls `cost_micros` does
    not cover.
    """

    day: date | None = None
    agent: str | None = None
    provider: str | None = None
    model: str | None = None
    release_id: str | None = None
    intent: str | None = None
    calls: int = 0
    usage: Usage = field(default_factory=Usage)
    cost_micros: int | None = None
    unpriced_calls: int = 0

    def with_more(self, other: "UsageLine") -> "UsageLine":
        known = [each for each in (self.cost_micros, other.cost_micros) if each is not None]
        return replace(
            self,
            calls=self.calls + other.calls,
            usage=self.usage + other.usage,
            cost_micros=sum(known) if known else None,
            unpriced_calls=self.unpriced_calls + other.unpriced_calls,
        )


def grouped(lines: Iterable[UsageLine], by: Sequence[str]) -> list[UsageLine]:
    """Summed by these, in the order of the first of each."""
    kept = [name for group in by for name in GROUPS[group]]
    sums: dict[tuple[Any, ...], UsageLine] = {}
    for line in lines:
        key = tuple(getattr(line, name) for name in kept)
        begun = sums.get(key) or UsageLine(**dict(zip(kept, key, strict=True)))
        sums[key] = begun.with_more(line)
    return list(sums.values())
