"""SQL for usage."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from sqlalchemy import BigInteger, bindparam, cast, func, insert
from sqlalchemy.sql.elements import ColumnElement

from handrail.core.ids import new_id
from handrail.core.usage import Usage
from handrail.db import Batch, Database, Prepared, Row, scoped
from handrail.insight.costs.lines import UsageLine
from handrail.insight.costs.tables import model_usage

DAY_MICROS = 24 * 3600 * 1_000_000
_EPOCH = date(1970, 1, 1)

_u = model_usage
_ADD = Prepared(insert(_u))


def _sum(column: str) -> ColumnElement[int]:
    # PostgreSQL sums integers to `numeric`; a sum of nothing but nulls stays null: unknown.
    return cast(func.sum(_u.c[column]), BigInteger).label(column)


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
