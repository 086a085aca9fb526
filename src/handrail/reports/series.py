"""What happened, in sums: read from the rollups, whole hours at a time.

The middle of a long time is read from the sums by day and its ends from those by hour, so that a month costs no more
than a day; one statement a table, however many lines and groups are made of it. Everything is a sum, so what two calls
give can be added. Rates and their intervals are made elsewhere: a sum of nothing is 0 here, and no share of it is.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any, Literal

from sqlalchemy import BigInteger, Select, Table, Text, bindparam, cast, func, literal_column, select, union_all
from sqlalchemy.sql.elements import ColumnElement

from handrail.core import json
from handrail.db import Database, Prepared, Row, scoped, total
from handrail.insight.scorecard.histogram import percentile
from handrail.insight.scorecard.rollup import MICROS, Grain, start_of
from handrail.insight.scorecard.tables import conversation_rollup, reason_rollup, turn_rollup
from handrail.reports.filters import NARROWS, Filters

Bucket = Literal["hour", "day"]
ReasonKind = Literal["error", "escalation", "guardrail", "fallback", "denied"]


@dataclass(frozen=True, slots=True)
class Turns:
    """Turns that ended or wait for people, in the hour in which they were sent.

    Attributes:
        latencies: by latency class, how many turns fell into each bucket of time from start to end; stopped ones and
            those that waited for people are left out.
        cost_micros: of the model calls whose price is known; `unpriced_calls` are the others.
    """

    turns: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    parked: int = 0
    handed_off: int = 0
    clarified: int = 0
    refused: int = 0
    tripped: int = 0
    overhead_micros: int = 0
    model_calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_micros: int = 0
    unpriced_calls: int = 0
    tool_calls: int = 0
    tool_failures: int = 0
    side_effects: int = 0
    approvals: int = 0
    latencies: Mapping[str, Mapping[int, int]] = field(default_factory=dict[str, Mapping[int, int]])

    @classmethod
    def added(cls, all_of: "Iterable[Turns]") -> "Turns":
        """The sums of several."""
        sums: Counter[str] = Counter()
        latencies: dict[str, Counter[int]] = defaultdict(Counter[int])
        for each in all_of:
            sums.update({name: getattr(each, name) for name in _TURN_SUMS})
            for name, counts in each.latencies.items():
                latencies[name].update(counts)
        return cls(**sums, latencies=latencies)

    def latency_micros(self, share: float, latency_class: str | None = None) -> int | None:
        """The time within which this share was answered, at most 5 % off; of all classes unless one is named."""
        return percentile(self.histogram(latency_class), share)

    def histogram(self, latency_class: str | None = None) -> Mapping[int, int]:
        """How many turns fell into each bucket."""
        counts: Counter[int] = Counter()
        for name, each in self.latencies.items():
            if latency_class in (None, name):
                counts.update(each)
        return counts


@dataclass(frozen=True, slots=True)
class Conversations:
    """Conversations by the hour in which they began.

    Attributes:
        closed: those whose window is over: `completed`, `resolved`, `escalated`, `recontacted` and what begins with
            `closed_` or `resolved_` count of these only. The others are pending.
    """

    conversations: int = 0
    closed: int = 0
    completed: int = 0
    resolved: int = 0
    escalated: int = 0
    recontacted: int = 0
    closed_turns: int = 0
    closed_cost_micros: int = 0
    resolved_cost_micros: int = 0
    turns: int = 0
    cost_micros: int = 0
    unpriced_calls: int = 0
    value_micros: int = 0
    csat_sum: int = 0
    csat_count: int = 0
    nps_promoters: int = 0
    nps_detractors: int = 0
    nps_count: int = 0
    thumbs_up: int = 0
    thumbs_down: int = 0

    @classmethod
    def added(cls, all_of: "Iterable[Conversations]") -> "Conversations":
        """The sums of several."""
        sums: Counter[str] = Counter()
        for each in all_of:
            sums.update({name: getattr(each, name) for name in _CONVERSATION_SUMS})
        return cls(**sums)

    @property
    def pending(self) -> int:
        """Nobody knows yet whether these are resolved."""
        return self.conversations - self.closed


_TURN_SUMS = tuple(each.name for each in fields(Turns) if each.name != "latencies")
_CONVERSATION_SUMS = tuple(each.name for each in fields(Conversations))


@dataclass(frozen=True, slots=True)
class Summary:
    """Of all the time that was asked for."""

    turns: Turns
    conversations: Conversations


@dataclass(frozen=True, slots=True)
class Point:
    """Of one hour or day (UTC)."""

    starts_at: int
    turns: Turns
    conversations: Conversations


@dataclass(frozen=True, slots=True)
class Group:
    """Of one intent or release; `''` is none."""

    name: str
    turns: Turns
    conversations: Conversations


@dataclass(frozen=True, slots=True)
class Reason:
    """How often one thing was why."""

    reason: str
    count: int


@dataclass(frozen=True, slots=True)
class Overview:
    """One time, looked at from all sides.

    Attributes:
        series: by the hour or the day, oldest first; one in which nothing happened is there, too.
        intents: the one with most turns first, as `releases`.
    """

    summary: Summary
    series: Sequence[Point]
    intents: Sequence[Group]
    releases: Sequence[Group]


async def overview(db: Database, filters: Filters, bucket: Bucket = "day") -> Overview:
    """All of it, and the same by time, intent and release."""
    turns, conversations = await asyncio.gather(
        db.scan(_turns(filters.named), given_to(filters, bucket)),
        db.scan(_conversations(filters.named), given_to(filters, bucket)),
    )
    return await asyncio.to_thread(_overview, filters, bucket, turns, conversations)


async def summary(db: Database, filters: Filters) -> Summary:
    """All of it in one."""
    return (await overview(db, filters)).summary


async def whole_conversations(db: Database, filters: Filters) -> Conversations:
    """The sums of the conversations of a time alone."""
    rows = await db.scan(_conversations(filters.named), given_to(filters, "day"))
    return Conversations.added(Conversations(**{name: row[name] for name in _CONVERSATION_SUMS}) for row in rows)


async def reasons(db: Database, filters: Filters) -> Mapping[ReasonKind, Sequence[Reason]]:
    """Why turns failed, went to people, tripped, fell back or were denied something, the most frequent first."""
    found: dict[ReasonKind, list[Reason]] = {
        "error": [], "escalation": [], "guardrail": [], "fallback": [], "denied": []
    }  # fmt: skip
    for row in await db.scan(_reasons(filters.named), given_to(filters, "day")):
        if row["count"]:
            found[row["kind"]].append(Reason(row["reason"], row["count"]))
    return {kind: sorted(each, key=lambda one: (-one.count, one.reason)) for kind, each in found.items()}


async def names(db: Database, filters: Filters) -> Mapping[str, Sequence[str]]:
    """The agents, releases, intents and channels that there were, for somebody to choose from."""
    within = {"tenant_id": filters.tenant_id, "since": start_of(filters.since, "day"), "until": filters.until}
    rows = await db.scan(_NAMES, within)
    return {name: sorted({row[name] for row in rows} - {""}) for name in NARROWS}


async def ever(db: Database, tenant_id: str) -> Mapping[str, Sequence[str]]:
    """The agents, releases, intents and channels that any turn of a tenant ever had."""
    rows = await db.scan(_EVER, {"tenant_id": tenant_id})
    return {name: sorted({row[name] for row in rows} - {""}) for name in NARROWS}


async def active_tenants(db: Database, since: int) -> Sequence[str]:
    """The tenants in which a turn was sent since then, for what a deployment does for all of them."""
    return [row["tenant_id"] for row in await db.scan(_TENANTS, {"since": since})]


_TENANTS = Prepared(
    select(turn_rollup.c.tenant_id)
    .distinct()
    .where(turn_rollup.c.grain == literal_column("'day'"), turn_rollup.c.starts_at >= bindparam("since"))
    .order_by(turn_rollup.c.tenant_id)
)
_EVER = Prepared(
    scoped(turn_rollup, *(turn_rollup.c[name] for name in NARROWS))
    .distinct()
    .where(turn_rollup.c.grain == literal_column("'day'"))
)
_c = conversation_rollup
_NAMES = Prepared(
    scoped(_c, *(_c.c[name] for name in NARROWS))
    .distinct()
    .where(
        _c.c.grain == literal_column("'day'"),
        _c.c.starts_at >= bindparam("since"),
        _c.c.starts_at < bindparam("until"),
    )
)


@cache
def _turns(named: tuple[str, ...]) -> Prepared:
    by = ("starts_at", "intent", "release_id", "latency_class")
    # A separator of its own would be a parameter, which PostgreSQL and `Prepared` want the type of.
    texts = func.aggregate_strings(_LATENCIES, literal_column("','"))  # pyright: ignore[reportArgumentType]
    return Prepared(summed(turn_rollup, named, by, _TURN_SUMS, texts))


@cache
def _conversations(named: tuple[str, ...]) -> Prepared:
    return Prepared(summed(conversation_rollup, named, ("starts_at", "intent", "release_id"), _CONVERSATION_SUMS))


@cache
def _reasons(named: tuple[str, ...]) -> Prepared:
    return Prepared(summed(reason_rollup, named, ("kind", "reason"), ("count",)))


_LATENCIES: ColumnElement[str] = literal_column("latencies", Text)


def summed(
    table: Table, named: Sequence[str], by: Sequence[str], sums: Sequence[str], *more: ColumnElement[Any]
) -> Select[*tuple[Any, ...]]:
    """The sums of the time, from its three pieces, by these columns."""
    held = [*by, *sums] + ["latencies" for _ in more]
    columns = [_bucket(table) if name == "starts_at" else table.c[name] for name in held]
    pieces = union_all(*(_piece(table, named, columns, *each) for each in _PIECES)).subquery()
    groups = [pieces.c[name] for name in by]
    totals = [_sum_of(pieces.c[name]).label(name) for name in sums]
    return select(*groups, *totals, *(each.label("latencies") for each in more)).group_by(*groups)


def _sum_of(column: ColumnElement[int]) -> ColumnElement[int]:
    """Only money, time and tokens come to more than a column holds; there is no room to do that for everything."""
    is_large = str(column.key).endswith(("micros", "tokens"))
    return total(column) if is_large else cast(func.sum(column), BigInteger)


def _bucket(table: Table) -> ColumnElement[int]:
    starts_at = table.c.starts_at
    return (starts_at - starts_at % bindparam("size", type_=BigInteger)).label("starts_at")


# Whole days, with hours before and after.
_PIECES = (("hour", "since", "first"), ("day", "first", "last"), ("hour", "last", "until"))


def _piece(
    table: Table, named: Sequence[str], columns: Sequence[ColumnElement[Any]], grain: str, since: str, until: str
) -> Select[*tuple[Any, ...]]:
    return scoped(table, *columns).where(
        table.c.grain == literal_column(f"'{grain}'"),
        table.c.starts_at >= bindparam(since, type_=BigInteger),
        table.c.starts_at < bindparam(until, type_=BigInteger),
        *(table.c[name] == bindparam(name) for name in named),
    )


def given_to(filters: Filters, bucket: Bucket) -> dict[str, Any]:
    """What a statement of `summed` is given: the ends of its pieces; there are no days in between where the answer is
    by the hour."""
    since, until = _ends(filters)
    first, last = start_of(since + MICROS["day"] - 1, "day"), start_of(until, "day")
    if bucket == "hour" or first >= last:
        first = last = until
    ends = {"since": since, "first": first, "last": last, "until": until, "size": MICROS[bucket]}
    return {**filters.parameters, **ends}


def _ends(filters: Filters) -> tuple[int, int]:
    return start_of(filters.since, "hour"), start_of(filters.until + MICROS["hour"] - 1, "hour")


@dataclass(slots=True)
class _Cell:
    """What is added up of one line, group or point."""

    turns: Counter[str] = field(default_factory=Counter[str])
    conversations: Counter[str] = field(default_factory=Counter[str])
    latencies: dict[str, Counter[int]] = field(default_factory=lambda: defaultdict(Counter[int]))

    def of_turns(self) -> Turns:
        return Turns(**self.turns, latencies=dict(self.latencies))

    def of_conversations(self) -> Conversations:
        return Conversations(**self.conversations)


def _overview(filters: Filters, bucket: Bucket, turns: Sequence[Row], conversations: Sequence[Row]) -> Overview:
    cells: dict[tuple[str, Any], _Cell] = defaultdict(_Cell)
    for row in turns:
        latencies, sums = _histogram(row["latencies"]), {name: row[name] for name in _TURN_SUMS if row[name]}
        for cell in _cells(cells, row):
            cell.turns.update(sums)
            if latencies:
                cell.latencies[row["latency_class"]].update(latencies)
    for row in conversations:
        sums = {name: row[name] for name in _CONVERSATION_SUMS if row[name]}
        for cell in _cells(cells, row):
            cell.conversations.update(sums)
    total = cells["", ""]
    return Overview(
        Summary(total.of_turns(), total.of_conversations()),
        _points(cells, filters, bucket),
        _groups(cells, "intent"),
        _groups(cells, "release_id"),
    )


def _cells(cells: Mapping[tuple[str, Any], _Cell], row: Row) -> Sequence[_Cell]:
    own = [cells[name, row[name]] for name in ("starts_at", "intent", "release_id")]
    return [cells["", ""], *own]


def _histogram(texts: str) -> Mapping[int, int]:
    counts: Counter[int] = Counter()
    for each in json.loads(f"[{texts}]"):
        counts.update({int(bucket): count for bucket, count in each.items()})
    return counts


def starts_of(filters: Filters, bucket: Grain) -> Sequence[int]:
    """The hours or days of a time, oldest first."""
    since, until = _ends(filters)
    return range(start_of(since, bucket), until, MICROS[bucket]) if since < until else ()


def _points(cells: Mapping[tuple[str, Any], _Cell], filters: Filters, bucket: Grain) -> Sequence[Point]:
    found = [(at, cells.get(("starts_at", at), _Cell())) for at in starts_of(filters, bucket)]
    return [Point(at, cell.of_turns(), cell.of_conversations()) for at, cell in found]


def _groups(cells: Mapping[tuple[str, Any], _Cell], by: str) -> Sequence[Group]:
    mine = {key: cell for (name, key), cell in cells.items() if name == by and (cell.turns or cell.conversations)}
    found = [Group(key, cell.of_turns(), cell.of_conversations()) for key, cell in mine.items()]
    return sorted(found, key=lambda each: (-each.turns.turns, each.name))
