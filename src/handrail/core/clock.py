"""Time as a thing that is passed in, so that tests can stop it and move it."""

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """The wall clock for what is stored, a monotonic one for waits inside the process."""

    def micros(self) -> int:
        """Microseconds since 1970 UTC: the unit of every stored time."""
        ...

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back."""
        ...


class SystemClock:
    """The process's own clocks."""

    def micros(self) -> int:
        return time.time_ns() // 1000

    def monotonic(self) -> float:
        return time.monotonic()


class FrozenClock:
    """A clock that stands still until `advance` is called; replaces both the wall and the monotonic clock."""

    def __init__(self, at: datetime | None = None) -> None:
        at = at or datetime(2026, 1, 1, tzinfo=UTC)
        self._micros = int(at.timestamp() * 1_000_000)
        self._monotonic = 1_000.0

    def micros(self) -> int:
        return self._micros

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, seconds: float) -> None:
        self._micros += int(seconds * 1_000_000)
        self._monotonic += seconds


def as_datetime(micros: int) -> datetime:
    """Stored time as an aware UTC datetime."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)


def iso(micros: int) -> str:
    """Stored time as RFC 3339 with milliseconds, as it stands in API bodies."""
    return as_datetime(micros).isoformat(timespec="milliseconds").replace("+00:00", "Z")
