"""SQL for usage."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import date, timedelta

from sqlalchemy import bindparam, case, func, insert, literal_column, select, update
from sqlalchemy.sql.elements import ColumnElement

from handrail.core import json
from handrail.core.ids import new_id
from handrail.core.usage import Usage
from handrail.db import Batch, Database, Prepared, Row, keys_of, scoped, total
from handrail.insight.costs.lines import UsageLine
from handrail.insight.costs.tables import model_usage

DAY_MICROS = 24 * 3600 * 1_000_000
_EPOCH = date(1970, 1, 1)

_u = model_usage
_ADD = Prepared(insert(_u))


def _sum(column: str) -> ColumnElement[int]:
    return total(_u.c[column]).label(column)


_PER_DAY = Prepared(
    scoped(_u)
    .with_only_columns(
        (_u.c.created_at // DAY_MICROS).label("day"),
        _u.c.agent,
        _u.c.model,
        func.count().label("calls"),
        _sum("input_tokens"),
        _sum("output_tokens"),
        _sum("cached_tokens"),
        _sum("cost_micros"),
        func.count(_u.c.cost_micros).label("priced"),
    )
    .where(_u.c.created_at >= bindparam("since"), _u.c.created_at < bindparam("until"))
    .group_by("day", _u.c.agent, _u.c.model)
    .order_by("day", _u.c.agent, _u.c.model)
)


_OF_TURN = Prepared(scoped(_u).where(_u.c.turn_id == bindparam("turn_id")).order_by(_u.c.created_at, _u.c.id))
_LINES = Prepared(
    scoped(_u)
    .with_only_columns(
        (_u.c.created_at // DAY_MICROS).label("day"),
        _u.c.agent,
        _u.c.provider,
        _u.c.model,
        _u.c.release_id,
        _u.c.intent,
        func.count().label("calls"),
        _sum("input_tokens"),
        _sum("output_tokens"),
        _sum("cached_tokens"),
        _sum("cost_micros"),
        func.count(_u.c.cost_micros).label("priced"),
    )
    .where(_u.c.created_at >= bindparam("since"), _u.c.created_at < bindparam("until"))
    .group_by("day", _u.c.agent, _u.c.provider, _u.c.model, _u.c.release_id, _u.c.intent)
    .order_by("day", _u.c.agent, _u.c.provider, _u.c.model, _u.c.release_id, _u.c.intent)
)


_NO_COST = _u.c.cost_micros.is_(None)
_GROUP = ("tenant_id", "release_id", "provider", "model")
_UNPRICED_GROUPS = Prepared(
    select(*(_u.c[name] for name in _GROUP))
    .where(_NO_COST, _u.c.created_at < bindparam("before"))
    .group_by(*(_u.c[name] for name in _GROUP))
    .order_by(*(_u.c[name] for name in _GROUP))
)
_UNPRICED = Prepared(
    select(_u)
    .where(
        _NO_COST,
        *(_u.c[name] == bindparam(name) for name in _GROUP),
        _u.c.created_at < bindparam("before"),
        _u.c.id > bindparam("after"),
    )
    .order_by(_u.c.id)
    .limit(bindparam("limit"))
)
_OF_TURNS = Prepared(scoped(_u).where(_u.c.turn_id.in_(keys_of("turn_ids"))).order_by(_u.c.created_at, _u.c.id))
# What has a cost keeps it.
_PRICE = Prepared(update(_u).where(_u.c.id == bindparam("id_"), _NO_COST).values(cost_micros=bindparam("cost_micros_")))
_TELLS_TOKENS = case((_u.c.input_tokens.is_(None) | _u.c.output_tokens.is_(None), 0), else_=1).label("tells_tokens")
_UNPRICED_LINES = Prepared(
    scoped(_u)
    .with_only_columns(
        _u.c.provider,
        _u.c.model,
        _u.c.release_id,
        _TELLS_TOKENS,
        func.count().label("calls"),
        _sum("input_tokens"),
        _sum("output_tokens"),
        func.min(_u.c.created_at).label("first_at"),
        func.max(_u.c.created_at).label("last_at"),
    )
    .where(_NO_COST, _u.c.created_at >= bindparam("since"), _u.c.created_at < bindparam("until"))
    .group_by(_u.c.provider, _u.c.model, _u.c.release_id, literal_column("tells_tokens"))
    .order_by(func.count().desc(), _u.c.provider, _u.c.model, _u.c.release_id)
)


@dataclass(frozen=True, slots=True)
class ModelUsage:
    """One model call on the books. `model` is the version that the provider reported."""

    tenant_id: str
    turn_id: str
    conversation_id: str
    agent: str
    release_id: str
    intent: str | None
    provider: str
    model: str
    usage: Usage
    milliseconds: int
    finish_reason: str
    created_at: int
    cost_micros: int | None = None

    @classmethod
    def of(cls, row: Row) -> "ModelUsage":
        return cls(
            tenant_id=row["tenant_id"],
            turn_id=row["turn_id"],
            conversation_id=row["conversation_id"],
            agent=row["agent"],
            release_id=row["release_id"],
            intent=row["intent"],
            provider=row["provider"],
            model=row["model"],
            usage=Usage(row["input_tokens"], row["output_tokens"], row["cached_tokens"]),
            milliseconds=row["milliseconds"],
            finish_reason=row["finish_reason"],
            created_at=row["created_at"],
            cost_micros=row["cost_micros"],
        )


@dataclass(frozen=True, slots=True)
class BookedCall:
    """A call under its number on the books."""

    id: str
    call: ModelUsage

    def priced(self, cost_micros: int | None) -> ModelUsage:
        """As it is once it costs that; as it is when that is not known."""
        return self.call if cost_micros is None else replace(self.call, cost_micros=cost_micros)


@dataclass(frozen=True, slots=True)
class Unpriced:
    """Calls without a cost that have a release and a model in common."""

    tenant_id: str
    release_id: str
    provider: str
    model: str


@dataclass(frozen=True, slots=True)
class UnpricedLine:
    """The same for people: `tells_tokens` says whether a price would give them a cost."""

    provider: str
    model: str
    release_id: str
    tells_tokens: bool
    calls: int
    input_tokens: int | None
    output_tokens: int | None
    first_at: int
    last_at: int


@dataclass(frozen=True, slots=True)
class DailyUsage:
    """All calls of an agent to a model on a day (UTC).

    Sums leave out what the provider did not tell; `None` when it never told. `unpriced_calls` says how many calls
    `cost_micros` does not cover.
    """

    day: date
    agent: str
    model: str
    calls: int
    usage: Usage
    cost_micros: int | None
    unpriced_calls: int

    @classmethod
    def of(cls, row: Row) -> "DailyUsage":
        return cls(
            day=_EPOCH + timedelta(days=row["day"]),
            agent=row["agent"],
            model=row["model"],
            calls=row["calls"],
            usage=Usage(row["input_tokens"], row["output_tokens"], row["cached_tokens"]),
            cost_micros=row["cost_micros"],
            unpriced_calls=row["calls"] - row["priced"],
        )


class UsageStore:
    """The table of model calls."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def record(self, batch: Batch, rows: Iterable[ModelUsage]) -> None:
        """Put calls on the books; they are there once the turn's batch is."""
        for row in rows:
            batch.add(
                _ADD,
                {
                    "id": new_id("use"),
                    "tenant_id": row.tenant_id,
                    "turn_id": row.turn_id,
                    "conversation_id": row.conversation_id,
                    "agent": row.agent,
                    "release_id": row.release_id,
                    "intent": row.intent,
                    "provider": row.provider,
                    "model": row.model,
                    "input_tokens": row.usage.input_tokens,
                    "output_tokens": row.usage.output_tokens,
                    "cached_tokens": row.usage.cached_tokens,
                    "milliseconds": row.milliseconds,
                    "finish_reason": row.finish_reason,
                    "cost_micros": row.cost_micros,
                    "created_at": row.created_at,
                },
            )

    async def of_turn(self, tenant_id: str, turn_id: str) -> Sequence[ModelUsage]:
        """The calls of a turn that are on the books, in their order."""
        return [
            ModelUsage.of(row) for row in await self._db.scan(_OF_TURN, {"tenant_id": tenant_id, "turn_id": turn_id})
        ]

    async def of_turns(self, tenant_id: str, turn_ids: Iterable[str]) -> Mapping[str, Sequence[BookedCall]]:
        """The same of several turns."""
        given = {"tenant_id": tenant_id, "turn_ids": json.dumps(dict.fromkeys(sorted(turn_ids), 1))}
        found: dict[str, list[BookedCall]] = defaultdict(list)
        for row in await self._db.scan(_OF_TURNS, given):
            found[row["turn_id"]].append(BookedCall(row["id"], ModelUsage.of(row)))
        return found

    async def unpriced_groups(self, *, before: int) -> Sequence[Unpriced]:
        """What has calls without a cost, of all tenants; made before a time."""
        rows = await self._db.scan(_UNPRICED_GROUPS, {"before": before})
        return [Unpriced(*(row[name] for name in _GROUP)) for row in rows]

    async def unpriced(self, group: Unpriced, *, before: int, after: str, limit: int) -> Sequence[BookedCall]:
        """A page of them, in the order of their numbers."""
        given = {**asdict(group), "before": before, "after": after, "limit": limit}
        return [BookedCall(row["id"], ModelUsage.of(row)) for row in await self._db.scan(_UNPRICED, given)]

    async def unpriced_lines(self, tenant_id: str, *, since: int, until: int) -> Sequence[UnpricedLine]:
        """What a tenant has of them, the most frequent first."""
        rows = await self._db.scan(_UNPRICED_LINES, {"tenant_id": tenant_id, "since": since, "until": until})
        return [
            UnpricedLine(
                **{each.name: row[each.name] for each in fields(UnpricedLine) if each.name != "tells_tokens"},
                tells_tokens=bool(row["tells_tokens"]),
            )
            for row in rows
        ]

    def price(self, batch: Batch, call_id: str, cost_micros: int) -> None:
        """Give a call its cost, unless it has one."""
        batch.add(_PRICE, {"id_": call_id, "cost_micros_": cost_micros})

    async def per_day(self, tenant_id: str, *, since: int, until: int) -> Sequence[DailyUsage]:
        """What each agent used of each model on each day between two times, oldest first."""
        rows = await self._db.scan(_PER_DAY, {"tenant_id": tenant_id, "since": since, "until": until})
        return [DailyUsage.of(row) for row in rows]

    async def lines(self, tenant_id: str, *, since: int, until: int) -> Sequence[UsageLine]:
        """The same told apart by all that calls are told apart by."""
        rows = await self._db.scan(_LINES, {"tenant_id": tenant_id, "since": since, "until": until})
        return [
            UsageLine(
                day=_EPOCH + timedelta(days=row["day"]),
                agent=row["agent"],
                provider=row["provider"],
                model=row["model"],
                release_id=row["release_id"],
                intent=row["intent"],
                calls=row["calls"],
                usage=Usage(row["input_tokens"], row["output_tokens"], row["cached_tokens"]),
                cost_micros=row["cost_micros"],
                unpriced_calls=row["calls"] - row["priced"],
            )
            for row in rows
        ]
