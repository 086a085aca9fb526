"""What a report is about: a time, and what it is narrowed down to."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

NARROWS = ("agent", "release_id", "intent", "channel")


@dataclass(frozen=True, slots=True)
class Filters:
    """What to count: [since, until) in microseconds since 1970; None where it does not matter."""

    tenant_id: str
    since: int
    until: int
    agent: str | None = None
    release_id: str | None = None
    intent: str | None = None
    channel: str | None = None

    @property
    def before(self) -> "Filters":
        """As long, and just before."""
        return replace(self, since=self.since - (self.until - self.since), until=self.since)

    @property
    def named(self) -> tuple[str, ...]:
        """By what it is narrowed down, besides time: statements are made for these alone, so that the database sees
        plain comparisons."""
        return tuple(name for name in NARROWS if getattr(self, name) is not None)

    @property
    def narrowed(self) -> Mapping[str, str | None]:
        """What it is narrowed down to, besides time."""
        return {name: getattr(self, name) for name in NARROWS}

    @property
    def parameters(self) -> Mapping[str, Any]:
        """What statements over these filters are given."""
        within = {"tenant_id": self.tenant_id, "since": self.since, "until": self.until}
        return within | {name: getattr(self, name) for name in self.named}
