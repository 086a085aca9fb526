"""What the success measures are computed from: sums over closed conversations, with every user as a cluster.

Read-only. `conversation_fact` is what the background has counted; a conversation appears a second after it changed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import Float, Select, and_, bindparam, case, cast, func, literal_column, select
from sqlalchemy.sql.elements import ColumnElement

from handrail.db import Database, Prepared
from handrail.insight.scorecard import Sums
from handrail.insight.scorecard.tables import conversation_fact as _f
from handrail.reports.filters import Filters


@dataclass(frozen=True, slots=True)
class Counted:
    """The sums by measure; conversations count when they are closed, their turns at once.

    Attributes:
        closed: conversations whose window is over, and `users` those who had them.
        pending: conversations whose window is still open.
    """

    sums: Mapping[str, Sums]
    closed: int
    pending: int
    users: int
    unpriced_calls: int


def _number(column: ColumnElement[Any]) -> ColumnElement[float]:
    return cast(func.coalesce(column, 0), Float)


def _is(column: ColumnElement[Any], *values: int) -> ColumnElement[float]:
    return case((column.in_([literal_column(str(each)) for each in values]), 1.0), else_=0.0)


def _known(column: ColumnElement[Any]) -> ColumnElement[float]:
    return case((column.is_not(None), 1.0), else_=0.0)


_ONE: ColumnElement[float] = literal_column("1.0")
# By measure: what is summed, and what it is a share or a mean of, for one conversation.
_RATIOS: Mapping[str, tuple[ColumnElement[float], ColumnElement[float]]] = {
    "autonomous_resolution": (_number(_f.c.is_resolved), _ONE),
    "task_completion": (_number(_f.c.is_completed), _ONE),
    "escalation_rate": (_number(_f.c.is_escalated), _ONE),
    "error_rate": (_number(_f.c.failed_turns), _number(_f.c.turns)),
    "availability": (_number(_f.c.turns - _f.c.failed_turns), _number(_f.c.turns)),
    "action_success": (_number(_f.c.tool_calls - _f.c.tool_failures), _number(_f.c.tool_calls)),
    # What was counted before this was is left out.
    "unsupported_claim_rate": (
        _number(_f.c.unsupported_turns),
        _known(_f.c.unsupported_turns) * _number(_f.c.turns),
    ),
    "csat": (_number(_f.c.csat), _known(_f.c.csat)),
    "nps": (
        100 * (_is(_f.c.nps, 9, 10) - _is(_f.c.nps, *range(7))),
        _known(_f.c.nps),
    ),
    "thumbs_up_rate": (_number(_f.c.thumbs_up), _number(_f.c.thumbs_up + _f.c.thumbs_down)),
    "cost_per_conversation": (_number(_f.c.cost_micros) / 1e6, _ONE),
    "cost_per_resolved": (_number(_f.c.cost_micros) / 1e6, _number(_f.c.is_resolved)),
    "saving_per_conversation": (
        bindparam("human_cost", type_=Float) * _number(_f.c.is_resolved) - _number(_f.c.cost_micros) / 1e6,
        _ONE,
    ),
    "value_per_conversation": (_number(_f.c.value_micros) / 1e6, _ONE),
}
# What is a share of turns and their calls is known at once; all else waits until the conversation is closed.
_OF_TURNS = frozenset({"error_rate", "availability", "action_success", "unsupported_claim_rate"})
_SUMS = ("clusters", "n", "x", "xx", "xn", "nn")


@cache
def _statement(narrowed: tuple[str, ...]) -> Prepared:
    """One pass over the conversations, grouped by user, then one row of sums for all measures."""
    users = _per_user(narrowed).subquery()
    columns: list[ColumnElement[Any]] = []
    for key in _RATIOS:
        x, n = users.c[f"x_{key}"], users.c[f"n_{key}"]
        sums = (_is_some(x, n), n, x, x * x, x * n, n * n)
        columns.extend(
            func.coalesce(func.sum(each), 0).label(f"{key}_{of}") for of, each in zip(_SUMS, sums, strict=True)
        )
    total = [func.coalesce(func.sum(users.c[name]), 0).label(name) for name in ("closed", "pending", "unpriced_calls")]
    of_closed = func.coalesce(func.sum(case((users.c.closed > 0, 1), else_=0)), 0)
    return Prepared(select(*columns, *total, of_closed.label("users")).select_from(users))


def _is_some(x: ColumnElement[float], n: ColumnElement[float]) -> ColumnElement[int]:
    return case(((n != 0) | (x != 0), 1), else_=0)


def _per_user(narrowed: Sequence[str]) -> Select[Any]:
    closed = case((_f.c.is_closed == literal_column("1"), 1), else_=0)
    columns: list[ColumnElement[Any]] = []
    for key, (x, n) in _RATIOS.items():
        counts = literal_column("1") if key in _OF_TURNS else closed
        columns.append(func.sum(x * counts).label(f"x_{key}"))
        columns.append(func.sum(n * counts).label(f"n_{key}"))
    where = and_(
        _f.c.tenant_id == bindparam("tenant_id"),
        _f.c.started_at >= bindparam("since"),
        _f.c.started_at < bindparam("until"),
        *(_f.c[name] == bindparam(name) for name in narrowed),
    )
    return (
        select(
            *columns,
            func.sum(closed).label("closed"),
            func.sum(1 - closed).label("pending"),
            func.sum(_f.c.unpriced_calls * closed).label("unpriced_calls"),
        )
        .where(where)
        # Whoever was erased has no name any more: each such conversation counts as a user of its own.
        .group_by(func.coalesce(_f.c.subject, _f.c.conversation_id))
    )


async def counted(db: Database, filters: Filters, human_cost: float = 0.0) -> Counted:
    """The sums of a time; `human_cost` is what one conversation costs with people, in US dollars."""
    row = (await db.scan(_statement(filters.named), {**filters.parameters, "human_cost": human_cost}))[0]
    sums = {key: Sums(int(row[f"{key}_clusters"]), *(float(row[f"{key}_{of}"]) for of in _SUMS[1:])) for key in _RATIOS}
    return Counted(sums, int(row["closed"]), int(row["pending"]), int(row["users"]), int(row["unpriced_calls"]))
