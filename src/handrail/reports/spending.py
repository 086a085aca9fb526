"""What was spent on each day, read from what is counted of turns; at most seconds behind the ledger."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta

from sqlalchemy import bindparam

from handrail.db import Database, Prepared, scoped, total
from handrail.insight.scorecard.tables import turn_rollup

DAY_MICROS = 24 * 3600 * 1_000_000
_EPOCH = date(1970, 1, 1)
_t = turn_rollup
_PER_DAY = (
    scoped(
        _t,
        _t.c.starts_at,
        total(_t.c.cost_micros).label("cost_micros"),
        total(_t.c.unpriced_calls).label("unpriced_calls"),
    )
    .where(_t.c.grain == "day", _t.c.starts_at >= bindparam("since"))
    .group_by(_t.c.starts_at)
)
_ALL, _OF_AGENT = Prepared(_PER_DAY), Prepared(_PER_DAY.where(_t.c.agent == bindparam("agent")))


@dataclass(frozen=True, slots=True)
class DaySpent:
    """Millionths of a US dollar, and how many calls of unknown price are not among them."""

    cost_micros: int
    unpriced_calls: int


async def spent_per_day(
    db: Database, tenant_id: str, *, since: date, agent: str | None = None
) -> Mapping[date, DaySpent]:
    """Each day (UTC) from `since` on with any turn, of a tenant or of one agent of it."""
    parameters = {"tenant_id": tenant_id, "since": (since - _EPOCH).days * DAY_MICROS}
    rows = await (db.scan(_OF_AGENT, parameters | {"agent": agent}) if agent else db.scan(_ALL, parameters))
    return {
        _EPOCH + timedelta(days=row["starts_at"] // DAY_MICROS): DaySpent(row["cost_micros"], row["unpriced_calls"])
        for row in rows
    }
