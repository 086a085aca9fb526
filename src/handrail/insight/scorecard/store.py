"""SQL for what is counted about conversations. What changes many rows gives them as one JSON parameter, so that a page
of a hundred conversations is a handful of statements."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import (
    JSON,
    Column,
    Table,
    Text,
    and_,
    bindparam,
    cast,
    delete,
    exists,
    func,
    insert,
    literal_column,
    null,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.sql.elements import ColumnElement

from handrail.core import json
from handrail.core.ids import new_id
from handrail.db import Batch, Database, NotStorable, Prepared, Row, keys_of, plus
from handrail.insight.scorecard import tables
from handrail.insight.scorecard.facts import ConversationFact
from handrail.insight.scorecard.rollup import Additions, Contribution, stored

KEPT_MINUTES_MICROS = 3 * 24 * 3600 * 1_000_000
FOLDER = "rollups"
MOST = 2**63 - 1
_FACT_NAMES = tuple(each.name for each in fields(ConversationFact))

_h, _f, _o = tables.fact_change, tables.conversation_fact, tables.fact_folder
_CHANGED = Prepared(insert(_h))
_WAITING = Prepared(select(_h).order_by(_h.c.id).limit(bindparam("limit")))
_NOTED = Prepared(select(_h.c.conversation_id).where(_h.c.conversation_id.in_(keys_of("ids"))).distinct())
# Ids are in the order of time: after an upgrade a million may wait, which no look should have to read through.
_OLDEST = Prepared(select(_h.c.created_at).order_by(_h.c.id).limit(literal_column("1")))
_DUE = Prepared(
    select(_f.c.tenant_id, _f.c.conversation_id)
    .where(_f.c.is_closed == literal_column("0"), _f.c.closes_at <= bindparam("now"))
    .order_by(_f.c.closes_at)
    .limit(bindparam("limit"))
)
_IS_WAITING = exists(select(_h.c.id)).label("is_waiting")
_IS_DUE = exists(
    select(_f.c.conversation_id).where(_f.c.is_closed == literal_column("0"), _f.c.closes_at <= bindparam("now"))
).label("is_due")
_HAS_WORK = Prepared(select(_IS_WAITING, _IS_DUE))
_FACTS = Prepared(select(_f).where(_f.c.conversation_id.in_(keys_of("ids"))))
_DONE = Prepared(delete(_h).where(_h.c.id.in_(keys_of("ids"))))
_FORGET = Prepared(
    update(_f)
    .where(_f.c.tenant_id == bindparam("tenant_id_"), _f.c.conversation_id == bindparam("conversation_id_"))
    .values(subject=null(), version=_f.c.version + 1)
)
_FORGET_CHANGES = Prepared(
    delete(_h).where(_h.c.tenant_id == bindparam("tenant_id_"), _h.c.conversation_id == bindparam("conversation_id_"))
)
_POSTPONE = Prepared(
    update(_f)
    .where(_f.c.conversation_id == bindparam("conversation_id_"), _f.c.closes_at.is_not(None))
    .values(closes_at=bindparam("until"))
)
_OLD_MINUTES = Prepared(
    delete(tables.turn_rollup).where(
        tables.turn_rollup.c.grain == literal_column("'minute'"), tables.turn_rollup.c.starts_at < bindparam("before")
    )
)
_DELETE_OLD = Prepared(delete(_f).where(_f.c.subject.is_(None), _f.c.last_at < bindparam("before")))
_COUNT_OLD = Prepared(
    select(_f.c.tenant_id, func.count().label("count"))
    .where(_f.c.subject.is_(None), _f.c.last_at < bindparam("before"))
    .group_by(_f.c.tenant_id)
)


def _given(place: int, kind: str = "text") -> str:
    """A value of the row that was given, by its place."""
    found = f"given.value ->> {place}"
    return f"({found})" if kind == "text" else f"CAST({found} AS BIGINT)"


def _insert(table: Table, names: Sequence[str], then: str) -> Prepared:
    """An insert of the rows in `:rows`, each an array in the order of `names`."""
    kinds = ["text" if isinstance(table.c[name].type, Text) else "number" for name in names]
    values = ", ".join(_given(place, kind) for place, kind in enumerate(kinds))
    # SQLite wants the WHERE, so that it does not take the ON for a join's. Names are those of our own schema.
    given = f"SELECT {values} FROM json_each(:rows) AS given WHERE true"  # noqa: S608 - our own names
    sql = f"INSERT INTO {table.name} ({', '.join(names)}) {given} {then}"
    return Prepared(text(sql).bindparams(bindparam("rows", type_=JSON)))


def _rolled_up(table: Table) -> Prepared:
    """Adds to the sums of a table."""
    key = [column.name for column in table.primary_key]
    sums = [column.name for column in table.c if column.name not in key]
    added = ", ".join(f"{name} = {_sum(table.c[name])}" for name in sums)
    return _insert(table, [*key, *sums], f"ON CONFLICT ({', '.join(key)}) DO UPDATE SET {added}")


def _sum(column: Column[Any]) -> str:
    now, more = f"{column.table.name}.{column.name}", f"excluded.{column.name}"
    return f"handrail_added({now}, {more})" if isinstance(column.type, Text) else plus(now, more)


_STORED = (*_FACT_NAMES, "contribution", "version", "updated_at")
_SAVE = _insert(
    _f,
    _STORED,
    f"ON CONFLICT (conversation_id) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in _STORED)} "
    "WHERE conversation_fact.version = excluded.version - 1",
)
_ROLLUPS: Mapping[str, tuple[Prepared, Sequence[str]]] = {
    table.name: (
        _rolled_up(table),
        [column.name for column in table.c if column.name not in {each.name for each in table.primary_key}],
    )
    for table in (tables.turn_rollup, tables.conversation_rollup, tables.reason_rollup, tables.usage_rollup)
}
_LEAD = Prepared(
    text(
        "INSERT INTO fact_folder (name, owner, expires_at) VALUES (:name, :owner, handrail_now() + :micros) "
        "ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, expires_at = excluded.expires_at "
        "WHERE fact_folder.owner = excluded.owner OR fact_folder.expires_at < handrail_now()"
    ).bindparams(bindparam("micros", type_=_o.c.expires_at.type))
)


def _part(place: int) -> ColumnElement[Any]:
    return literal_column("given.value").op("->>")(literal_column(str(place)))


def _neighbour(column: ColumnElement[Any], *, after: bool) -> ColumnElement[Any]:
    """Of the next conversation of the same user with the agent about the same intent, or of the one before."""
    at, own = cast(_part(4), _f.c.started_at.type), _part(5)
    if after:
        beyond = and_(_f.c.started_at >= at, or_(_f.c.started_at > at, _f.c.conversation_id > own))
        order = (_f.c.started_at, _f.c.conversation_id)
    else:
        beyond = and_(_f.c.started_at <= at, or_(_f.c.started_at < at, _f.c.conversation_id < own))
        order = (_f.c.started_at.desc(), _f.c.conversation_id.desc())
    same = (
        _f.c.tenant_id == _part(0),
        _f.c.subject == _part(1),
        _f.c.agent == _part(2),
        _f.c.intent == _part(3),
        _f.c.conversation_id.not_in(keys_of("ids")),
    )
    return select(column).where(*same, beyond).order_by(*order).limit(literal_column("1")).scalar_subquery()


_NEIGHBOURS = Prepared(
    select(
        literal_column("given.key").label("key"),
        _neighbour(_f.c.started_at, after=True).label("next_at"),
        _neighbour(_f.c.conversation_id, after=False).label("before_id"),
    ).select_from(func.json_each(bindparam("given", type_=JSON)).table_valued("key", "value", name="given"))
)


@dataclass(frozen=True, slots=True)
class Change:
    """A conversation that is to be counted anew."""

    id: str
    tenant_id: str
    conversation_id: str
    created_at: int


@dataclass(frozen=True, slots=True)
class StoredFact:
    """A fact with what it has added to the sums. `version` grows by one with every write."""

    fact: ConversationFact
    contribution: Contribution
    version: int

    @classmethod
    def of(cls, row: Row) -> "StoredFact":
        return cls(ConversationFact.of(row), json.loads(row["contribution"]), row["version"])

    def row(self, at: int) -> list[Any]:
        values = [getattr(self.fact, name) for name in _FACT_NAMES]
        plain = [int(value) if isinstance(value, bool) else value for value in values]
        return [*plain, json.dumps(self.contribution), self.version, at]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a conversation stands among those of its user about the same intent."""

    conversation_id: str
    tenant_id: str
    subject: str | None
    agent: str
    intent: str
    started_at: int

    @classmethod
    def of(cls, fact: ConversationFact) -> "Place":
        return cls(fact.conversation_id, fact.tenant_id, fact.subject, fact.agent, fact.intent, fact.started_at)

    @property
    def line(self) -> tuple[str, str | None, str, str]:
        """Whose and about what: those in one line follow one another."""
        return self.tenant_id, self.subject, self.agent, self.intent

    @property
    def rank(self) -> tuple[int, str]:
        """Its place in that line."""
        return self.started_at, self.conversation_id


@dataclass(frozen=True, slots=True)
class Neighbours:
    """When the next conversation of a line began, and which one came before; as far as they are stored."""

    next_at: int | None
    before_id: str | None


class FactStore:
    """The tables of the scorecard.

    Attributes:
        led_at: when this process was last told that it is the one that counts, in microseconds.
    """

    def __init__(self, db: Database) -> None:
        self._db = db
        self.led_at = 0

    def changed(self, batch: Batch, tenant_id: str, conversation_id: str, *, at: int) -> None:
        """Something that is counted about this conversation is in this batch; it is counted anew soon after."""
        row = {"id": new_id("chg"), "tenant_id": tenant_id, "conversation_id": conversation_id, "created_at": at}
        batch.add(_CHANGED, row)

    async def has_work(self, now: int) -> bool:
        """Whether anything is to be counted anew, or closed: asked every second."""
        row = await self._db.fetch_one(_HAS_WORK, {"now": now})
        return row is not None and bool(row["is_waiting"] or row["is_due"])

    async def waiting(self, limit: int) -> Sequence[Change]:
        """What is to be counted anew, oldest first."""
        rows = await self._db.fetch_all(_WAITING, {"limit": limit})
        return [Change(row["id"], row["tenant_id"], row["conversation_id"], row["created_at"]) for row in rows]

    async def noted(self, conversation_ids: Iterable[str]) -> Sequence[str]:
        """Which of these are to be counted anew."""
        rows = await self._db.scan(_NOTED, {"ids": _keys(conversation_ids)})
        return [row["conversation_id"] for row in rows]

    async def waiting_since(self) -> int | None:
        """When the oldest change that is not counted yet happened."""
        row = await self._db.fetch_one(_OLDEST, {})
        return row["created_at"] if row else None

    async def due(self, now: int, limit: int) -> Sequence[str]:
        """Conversations whose window is over and which are not closed yet."""
        rows = await self._db.fetch_all(_DUE, {"now": now, "limit": limit})
        return [row["conversation_id"] for row in rows]

    async def of(self, conversation_ids: Iterable[str]) -> Mapping[str, StoredFact]:
        """What is known of them."""
        rows = await self._db.scan(_FACTS, {"ids": _keys(conversation_ids)})
        return {row["conversation_id"]: StoredFact.of(row) for row in rows}

    async def neighbours(self, places: Sequence[Place], apart_from: Iterable[str]) -> Sequence[Neighbours]:
        """Who is next and who was before each of these places, `apart_from` not looked at."""
        given = {
            str(number): [each.tenant_id, each.subject, each.agent, each.intent, each.started_at, each.conversation_id]
            for number, each in enumerate(places)
        }
        rows = await self._db.scan(_NEIGHBOURS, {"given": json.dumps(given), "ids": _keys(apart_from)})
        found = {row["key"]: Neighbours(row["next_at"], row["before_id"]) for row in rows}
        return [found[str(number)] for number in range(len(places))]

    def save(self, batch: Batch, facts: Sequence[StoredFact], added: Additions, *, at: int) -> None:
        """Facts, and what is new in them for the sums; `Conflict` when somebody else has written one of them."""
        if facts:
            batch.add(_SAVE, {"rows": _rows(each.row(at) for each in facts)}, expect=len(facts))
        for table, rows in sorted(added.items()):
            statement, names = _ROLLUPS[table]
            changed = [(key, amounts) for key, amounts in sorted(rows.items()) if any(amounts.values())]
            if changed:
                given = _rows([*key, *stored(amounts, names)] for key, amounts in changed)
                batch.add(statement, {"rows": given})

    def done(self, batch: Batch, changes: Sequence[Change]) -> None:
        """They are counted; `Conflict` when somebody else did that, or the conversation was forgotten meanwhile."""
        if changes:
            batch.add(_DONE, {"ids": _keys(each.id for each in changes)}, expect=len(changes))

    def postpone(self, batch: Batch, conversation_id: str, *, until: int) -> None:
        """It can't be counted now; it is looked at again then."""
        batch.add(_POSTPONE, {"conversation_id_": conversation_id, "until": until})

    def lead(self, batch: Batch, owner: str, *, seconds: float) -> None:
        """Be the process that counts for so long; `Conflict` when another one is."""
        batch.add(_LEAD, {"name": FOLDER, "owner": owner, "micros": int(seconds * 1_000_000)}, expect=1)

    def forget(self, batch: Batch, tenant_id: str, conversation_id: str) -> None:
        """A conversation's rows go with this batch: its fact no longer says whose it was, and its sums stay."""
        key = {"tenant_id_": tenant_id, "conversation_id_": conversation_id}
        batch.add(_FORGET, key)
        batch.add(_FORGET_CHANGES, key)

    def drop_minutes(self, batch: Batch, *, now: int) -> None:
        """Additions by the minute are for alerts, and kept for three days."""
        batch.add(_OLD_MINUTES, {"before": now - KEPT_MINUTES_MICROS})

    async def count_old(self, *, before: int) -> dict[str, int]:
        """By tenant, how many facts of nobody ended before."""
        return {row["tenant_id"]: row["count"] for row in await self._db.scan(_COUNT_OLD, {"before": before})}

    def delete_old(self, batch: Batch, *, before: int) -> None:
        """Facts of nobody that ended before; the sums stay."""
        batch.add(_DELETE_OLD, {"before": before})


def _keys(ids: Iterable[str]) -> str:
    return json.dumps(dict.fromkeys(ids, 1))


def _rows(rows: Iterable[Sequence[Any]]) -> str:
    """As a parameter; raises `NotStorable` for a number that no column can hold: SQLite would round it in silence."""
    given = {str(number): row for number, row in enumerate(rows)}
    for row in given.values():
        for value in row:
            if isinstance(value, int) and not -MOST <= value <= MOST:
                raise NotStorable(f"{value} of {row[0]!r} is too large to be counted")
    return json.dumps(given)
