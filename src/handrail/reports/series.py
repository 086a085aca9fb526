"""What happened, in sums: read from the rollups, whole hours at a time.

The middle of a long time is read from the sums by day and its ends from those by hour, so that a month costs no more
than a day. Everything is a sum, so what two calls give can be added. Rates and their intervals are made elsewhere: a
sum of nothing is 0 here, and no share of it is.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from sqlalchemy import BigInteger, Column, Table, Text, and_, bindparam, cast, func, literal_column, or_, select
from sqlalchemy.sql.elements import ColumnElement

from handrail.db import Database, Prepared, scoped
from handrail.insight.scorecard.histogram import percentile
from handrail.insight.scorecard.rollup import MICROS, Grain, start_of
from handrail.insight.scorecard.tables import (
    conversation_fact,
    conversation_rollup,
    latency_rollup,
    reason_rollup,
    turn_rollup,
)
from handrail.reports.filters import NARROWS, Filters

Bucket = Literal["hour", "day"]
By = Literal["agent", "release_id", "intent", "channel"]
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

    @property
    def pending(self) -> int:
        """Nobody knows yet whether these are resolved."""
        return self.conversations - self.closed


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
    """Of one intent, agent, release or channel; `''` is none."""

    name: str
    turns: Turns
    conversations: Conversations


@dataclass(frozen=True, slots=True)
class Reason:
    """How often one thing was why."""

    reason: str
    count: int


@dataclass(frozen=True, slots=True)
class Minute:
    """Of one minute of an agent's release, all intents together; kept for three days."""

    starts_at: int
    agent: str
    release_id: str
    turns: Turns


@dataclass(frozen=True, slots=True)
class PrincipalActivity:
    """What one user did in the conversations that went on since a time."""

    subject: str
    conversations: int
    turns: int
    failed_turns: int
    refused: int
    tripped: int
    side_effects: int
    approvals: int
    cost_micros: int
    last_at: int


_TURN_SUMS = tuple(each.name for each in fields(Turns) if each.name != "latencies")
_CONVERSATION_SUMS = tuple(each.name for each in fields(Conversations))


def _matches(column: Column[Any]) -> ColumnElement[bool]:
    wanted = bindparam(column.name, type_=Text)
    return or_(wanted.is_(None), column == wanted)


def _sums(table: Table, names: Sequence[str], by: Sequence[str], *more: ColumnElement[bool]) -> Prepared:
    """The sums of a time, by these columns."""
    groups = [table.c[name] for name in by]
    sums = [cast(func.sum(table.c[name]), BigInteger).label(name) for name in names]
    during = and_(table.c.starts_at >= bindparam("since"), table.c.starts_at < bindparam("until"))
    matching = [_matches(table.c[name]) for name in NARROWS]
    wanted = scoped(table, *groups, *sums).where(table.c.grain == bindparam("grain"), during, *matching, *more)
    # Without a group there would be a row of nulls.
    return Prepared(wanted.group_by(*(groups or [table.c.tenant_id])))


_GROUPS: Sequence[tuple[str, ...]] = ((), ("starts_at",), *((name,) for name in NARROWS))
_MINUTE = ("starts_at", "agent", "release_id")
_TURNS: Mapping[tuple[str, ...], Prepared] = {
    group: _sums(turn_rollup, _TURN_SUMS, group) for group in (*_GROUPS, _MINUTE)
}
_LATENCIES: Mapping[tuple[str, ...], Prepared] = {
    group: _sums(latency_rollup, ["turns"], [*group, "latency_class", "bucket"]) for group in (*_GROUPS, _MINUTE)
}
_CONVERSATIONS: Mapping[tuple[str, ...], Prepared] = {
    group: _sums(conversation_rollup, _CONVERSATION_SUMS, group) for group in _GROUPS
}
_REASONS = _sums(reason_rollup, ["count"], ["reason"], reason_rollup.c.kind == bindparam("kind"))
_f = conversation_fact
_PRINCIPALS = Prepared(
    scoped(
        _f, _f.c.subject, func.count().label("conversations"), func.max(_f.c.last_at).label("last_at"),
        *(
            cast(func.sum(_f.c[name]), BigInteger).label(name)
            for name in ("turns", "failed_turns", "refused", "tripped", "side_effects", "approvals", "cost_micros")
        ),
    )
    .where(
        _f.c.subject.is_not(None), _f.c.last_at >= bindparam("since"), _f.c.last_at < bindparam("until"),
        *(_matches(_f.c[name]) for name in NARROWS),
    )
    .group_by(_f.c.subject)
    .order_by(func.sum(_f.c.turns).desc(), _f.c.subject)
    .limit(bindparam("limit"))
)  # fmt: skip


async def summary(db: Database, filters: Filters) -> Summary:
    """All of it in one."""
    turns, conversations = await _read(db, filters, ())
    return Summary(turns.get((), Turns()), conversations.get((), Conversations()))


async def series(db: Database, filters: Filters, bucket: Bucket = "day") -> Sequence[Point]:
    """By the hour or the day, oldest first; one in which nothing happened is there, too."""
    turns, conversations = await _read(db, filters, ("starts_at",), bucket)
    pieces = _pieces(filters, bucket)
    if not pieces:
        return []
    first, last = start_of(pieces[0][1], bucket), pieces[-1][2]
    return [
        Point(at, turns.get((at,), Turns()), conversations.get((at,), Conversations()))
        for at in range(first, last, MICROS[bucket])
    ]


async def by(db: Database, filters: Filters, what: By) -> Sequence[Group]:
    """By intent, agent, release or channel, the one with most turns first."""
    turns, conversations = await _read(db, filters, (what,))
    names = sorted({*turns, *conversations})
    groups = [Group(key[0], turns.get(key, Turns()), conversations.get(key, Conversations())) for key in names]
    return sorted(groups, key=lambda each: -each.turns.turns)


async def by_intent(db: Database, filters: Filters) -> Sequence[Group]:
    """By intent, the one with most turns first."""
    return await by(db, filters, "intent")


async def reasons(db: Database, filters: Filters, kind: ReasonKind) -> Sequence[Reason]:
    """Why turns failed, went to people, tripped or fell back, the most frequent first."""
    counts: Counter[str] = Counter()
    for grain, since, until in _pieces(filters):
        for row in await db.scan(_REASONS, _parameters(filters, grain, since, until) | {"kind": kind}):
            counts[row["reason"]] += row["count"]
    return [
        Reason(reason, count) for reason, count in sorted(counts.items(), key=lambda each: (-each[1], each[0])) if count
    ]


async def minutes(db: Database, filters: Filters) -> Sequence[Minute]:
    """By the minute, agent and release, oldest first; a minute without a turn is not there. `intent` and `channel` are
    not told by the minute."""
    since, until = start_of(filters.since, "minute"), filters.until
    given = _parameters(filters, "minute", since, until) | {"intent": None, "channel": None}
    latencies = _by_class(await db.scan(_LATENCIES[_MINUTE], given), _MINUTE, "minute")
    rows = await db.scan(_TURNS[_MINUTE], given)
    found = [
        Minute(*key, Turns(**{name: row[name] for name in _TURN_SUMS}, latencies=latencies.get(key, {})))
        for row in rows
        if row["turns"]
        for key in [(row["starts_at"], row["agent"], row["release_id"])]
    ]
    return sorted(found, key=lambda each: (each.starts_at, each.agent, each.release_id))


_TENANTS = Prepared(
    select(turn_rollup.c.tenant_id)
    .distinct()
    .where(turn_rollup.c.grain == literal_column("'day'"), turn_rollup.c.starts_at >= bindparam("since"))
    .order_by(turn_rollup.c.tenant_id)
)


async def active_tenants(db: Database, since: int) -> Sequence[str]:
    """The tenants in which a turn was sent since then, for what a deployment does for all of them."""
    return [row["tenant_id"] for row in await db.scan(_TENANTS, {"since": since})]


async def principals(db: Database, filters: Filters, *, limit: int = 100) -> Sequence[PrincipalActivity]:
    """Who did most, by turns: of each, all of the conversations that went on in this time."""
    given = _parameters(filters, "hour", filters.since, filters.until) | {"limit": limit}
    rows = await db.scan(_PRINCIPALS, given)
    return [PrincipalActivity(**{each.name: row[each.name] for each in fields(PrincipalActivity)}) for row in rows]


_Key = tuple[Any, ...]


async def _read(
    db: Database, filters: Filters, group: tuple[str, ...], bucket: Bucket | None = None
) -> tuple[Mapping[_Key, Turns], Mapping[_Key, Conversations]]:
    """The sums by group, put together from the pieces of the time."""
    turns: dict[_Key, Counter[str]] = defaultdict(Counter)
    conversations: dict[_Key, Counter[str]] = defaultdict(Counter)
    latencies: dict[_Key, dict[str, Counter[int]]] = defaultdict(lambda: defaultdict(Counter))
    for grain, since, until in _pieces(filters, bucket):
        given = _parameters(filters, grain, since, until)
        _collect(turns, await db.scan(_TURNS[group], given), group, _TURN_SUMS, bucket)
        _collect(conversations, await db.scan(_CONVERSATIONS[group], given), group, _CONVERSATION_SUMS, bucket)
        for key, classes in _by_class(await db.scan(_LATENCIES[group], given), group, bucket).items():
            for name, counts in classes.items():
                latencies[key][name].update(counts)
    return (
        {key: Turns(**sums, latencies=latencies.get(key, {})) for key, sums in turns.items()},
        {key: Conversations(**sums) for key, sums in conversations.items()},
    )


def _collect(
    into: dict[_Key, Counter[str]], rows: Iterable[Mapping[str, Any]], group: _Key, names: Sequence[str], bucket: Any
) -> None:
    for row in rows:
        sums = into[_key(row, group, bucket)]
        for name in names:
            sums[name] += row[name]


def _by_class(
    rows: Iterable[Mapping[str, Any]], group: _Key, bucket: Grain | None
) -> Mapping[_Key, Mapping[str, Counter[int]]]:
    found: dict[_Key, dict[str, Counter[int]]] = defaultdict(lambda: defaultdict(Counter))
    for row in rows:
        if row["turns"]:
            found[_key(row, group, bucket)][row["latency_class"]][row["bucket"]] += row["turns"]
    return found


def _key(row: Mapping[str, Any], group: _Key, bucket: Grain | None) -> _Key:
    if bucket is None:
        return tuple(row[name] for name in group)
    return tuple(start_of(row[name], bucket) if name == "starts_at" else row[name] for name in group)


def _pieces(filters: Filters, bucket: Bucket | None = None) -> Sequence[tuple[Grain, int, int]]:
    """The time as whole days with hours before and after; only hours where the answer is by the hour."""
    since = start_of(filters.since, "hour")
    until = start_of(filters.until + MICROS["hour"] - 1, "hour")
    first, last = start_of(since + MICROS["day"] - 1, "day"), start_of(until, "day")
    if bucket == "hour" or first >= last:
        pieces: Sequence[tuple[Grain, int, int]] = [("hour", since, until)]
    else:
        pieces = [("hour", since, first), ("day", first, last), ("hour", last, until)]
    return [each for each in pieces if each[1] < each[2]]


def _parameters(filters: Filters, grain: Grain, since: int, until: int) -> dict[str, Any]:
    matching = {name: getattr(filters, name) for name in NARROWS}
    return {"tenant_id": filters.tenant_id, "grain": grain, "since": since, "until": until} | matching
