"""What calls of models came to: by time, model, agent, release and intent, from the sums of the background.

Calls count in the hour in which their turn was sent, once the turn has ended or waits for people.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from typing import Any

from handrail.db import Database, Prepared, Row
from handrail.insight.scorecard import UNPRICED, Unpriced
from handrail.insight.scorecard.tables import usage_rollup
from handrail.reports.filters import Filters
from handrail.reports.series import Bucket, Conversations, given_to, starts_of, summed, whole_conversations

_BY = ("starts_at", "agent", "release_id", "intent", "provider", "model")


@dataclass(frozen=True, slots=True)
class Calls:
    """Calls of models; `cost_micros` is of those whose cost is known, the others are counted by why it is not."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cost_micros: int = 0
    no_price: int = 0
    no_tokens: int = 0
    broken_off: int = 0
    lost: int = 0

    @property
    def unpriced(self) -> Mapping[Unpriced, int]:
        """How many have no known cost, by why; without those of which there are none."""
        found: Mapping[Unpriced, int] = {name: getattr(self, name) for name in UNPRICED}
        return {name: count for name, count in found.items() if count}

    @property
    def unpriced_calls(self) -> int:
        return sum(self.unpriced.values())


@dataclass(frozen=True, slots=True)
class Line:
    """Calls with something in common: a model by provider and name, an agent, a release of an agent, or an intent."""

    names: tuple[str, ...]
    calls: Calls


@dataclass(frozen=True, slots=True)
class Ledger:
    """One time, looked at from all sides; lines come with the dearest first.

    Attributes:
        series: by the hour or the day, oldest first; one without calls is there, too.
        conversations: those that began in this time.
    """

    total: Calls
    series: Sequence[tuple[int, Calls]]
    models: Sequence[Line]
    agents: Sequence[Line]
    releases: Sequence[Line]
    intents: Sequence[Line]
    conversations: Conversations


_SUMS = tuple(each.name for each in fields(Calls))
_SIDES: Mapping[str, tuple[str, ...]] = {
    "models": ("provider", "model"), "agents": ("agent",), "releases": ("release_id", "agent"), "intents": ("intent",),
}  # fmt: skip


async def ledger(db: Database, filters: Filters, bucket: Bucket = "day") -> Ledger:
    """All calls of a time, and what the conversations that began in it came to."""
    rows, conversations = await asyncio.gather(
        db.scan(_usage(filters.named), given_to(filters, bucket)), whole_conversations(db, filters)
    )
    return await asyncio.to_thread(_ledger, filters, bucket, rows, conversations)


async def spent(db: Database, filters: Filters) -> Calls:
    """The sum of a time alone."""
    rows = await db.scan(_usage(filters.named), given_to(filters, "day"))
    return _added(rows)


@cache
def _usage(named: tuple[str, ...]) -> Prepared:
    return Prepared(summed(usage_rollup, named, _BY, _SUMS))


def _ledger(filters: Filters, bucket: Bucket, rows: Sequence[Row], conversations: Conversations) -> Ledger:
    by_time: dict[int, list[Row]] = defaultdict(list)
    for row in rows:
        by_time[row["starts_at"]].append(row)
    series = [(at, _added(by_time.get(at, ()))) for at in starts_of(filters, bucket)]
    sides = {name: _lines(rows, columns) for name, columns in _SIDES.items()}
    return Ledger(total=_added(rows), series=series, conversations=conversations, **sides)


def _lines(rows: Sequence[Row], columns: Sequence[str]) -> Sequence[Line]:
    groups: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for row in rows:
        groups[tuple(row[name] for name in columns)].append(row)
    found = [Line(names, _added(each)) for names, each in groups.items()]
    return sorted(
        (each for each in found if each.calls.calls),
        key=lambda each: (-each.calls.cost_micros, -each.calls.calls, each.names),
    )


def _added(rows: Sequence[Mapping[str, Any]]) -> Calls:
    sums: Counter[str] = Counter()
    for row in rows:
        sums.update({name: row[name] for name in _SUMS if row[name]})
    return Calls(**sums)
