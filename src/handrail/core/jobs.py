"""What work in the background is, for those who ask for it, run it and show it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from handrail.core.clock import as_datetime

# Whose a run is that no tenant asked for: it looks after the whole deployment.
DEPLOYMENT = "*"


@dataclass(frozen=True, slots=True)
class Task:
    """One run that is asked for. The same id asked for twice is one run."""

    id: str
    job: str
    tenant_id: str
    arguments: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Schedule:
    """Every hour at a minute, or every day at a time (UTC)."""

    minute: int
    hour: int | None = None

    @property
    def cron(self) -> str:
        return f"{self.minute} {'*' if self.hour is None else self.hour} * * *"

    def __str__(self) -> str:
        if self.hour is None:
            return f"every hour at :{self.minute:02d}"
        return f"every day at {self.hour:02d}:{self.minute:02d} UTC"

    def next_after(self, at: int) -> int:
        """The first time later than `at` (both in microseconds)."""
        return self.last_until(at) + self._period

    def last_until(self, at: int) -> int:
        """The last time that is not later than `at`."""
        now = as_datetime(at)
        candidate = now.replace(
            minute=self.minute, hour=now.hour if self.hour is None else self.hour, second=0, microsecond=0
        )
        due = round((candidate - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(microseconds=1))
        return due if due <= at else due - self._period

    @property
    def _period(self) -> int:
        return (3600 if self.hour is None else 24 * 3600) * 1_000_000


class Engine(Protocol):
    """What runs the jobs, as far as the rest of the process needs it."""

    @property
    def state(self) -> str:
        """`running`, `off`, or why not."""
        ...

    async def forget_finished(self, *, days: int) -> int:
        """Delete up to a few hundred of the engine's own rows of runs that ended so long ago; how many it were."""
        ...


class NoEngine:
    """Jobs are off in this process; what is asked for waits in the outbox for one that runs them."""

    state = "off"

    async def forget_finished(self, *, days: int) -> int:
        return 0
