"""What happened in the windows of service level objectives: so many turns, and so many that ended in an error.

Read-only. Short windows come from the sums by the minute, which are kept for three days and tell no intent or channel;
a window that is not kept whole is left out.
"""

from collections.abc import Mapping
from functools import cache

from sqlalchemy import BigInteger, bindparam, cast, func, select
from sqlalchemy.sql.elements import ColumnElement

from handrail.db import Database, Prepared
from handrail.insight.scorecard import WINDOWS
from handrail.insight.scorecard.rollup import Grain, start_of
from handrail.insight.scorecard.store import KEPT_MINUTES_MICROS
from handrail.insight.scorecard.tables import turn_rollup as _t
from handrail.reports.filters import Filters

# Longer ones are read from the sums by the hour: they begin up to an hour early.
LONGEST_BY_MINUTE = 6 * 3600


def _sum(name: str) -> ColumnElement[int]:
    return cast(func.coalesce(func.sum(_t.c[name]), 0), BigInteger).label(name)


@cache
def _total(narrowed: tuple[str, ...]) -> Prepared:
    return Prepared(
        select(_sum("turns"), _sum("failed")).where(
            _t.c.tenant_id == bindparam("tenant_id"),
            _t.c.grain == bindparam("grain"),
            _t.c.starts_at >= bindparam("since"),
            _t.c.starts_at < bindparam("until"),
            *(_t.c[name] == bindparam(name) for name in narrowed),
        )
    )


async def windows(db: Database, filters: Filters, *, now: int) -> Mapping[int, tuple[int, int]]:
    """By length in seconds, how many turns there were until `filters.until` and how many of them failed."""
    if filters.intent is not None or filters.channel is not None:
        return {}
    found: dict[int, tuple[int, int]] = {}
    for seconds in sorted({length for long, short, _ in WINDOWS for length in (long, short)}):
        grain: Grain = "minute" if seconds <= LONGEST_BY_MINUTE else "hour"
        since = start_of(filters.until - seconds * 1_000_000, grain)
        if grain == "minute" and since < now - KEPT_MINUTES_MICROS:
            continue
        given = {**filters.parameters, "grain": grain, "since": since}
        row = (await db.scan(_total(filters.named), given))[0]
        found[seconds] = (row["turns"], row["failed"])
    return found
