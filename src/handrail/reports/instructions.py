"""Quality, cost and latency by the instructions that answered, read from the newest traces.

Read-only. Only of what is kept: where traces are sampled, turns that failed or were slow are kept more often.
"""

import asyncio
import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import BigInteger, Integer, and_, bindparam, func, select

from handrail.db import Database, Prepared, Row, scoped
from handrail.insight.feedback.tables import feedback as _f
from handrail.insight.traces.tables import trace as _t
from handrail.reports.filters import Filters

MOST_TRACES = 20_000
_COLUMNS = (
    "turn_id",
    "instructions_hash",
    "agent",
    "release_id",
    "status",
    "duration_micros",
    "cost_micros",
    "started_at",
)


@dataclass(frozen=True, slots=True)
class Instructions:
    """What one text of instructions did in a time.

    Attributes:
        release_id: the newest release that answered with it.
        cost_micros: of the turns whose cost is known; None where none is. `unpriced` are the others.
    """

    hash: str
    agent: str
    release_id: str
    turns: int
    failed: int
    p50_micros: int | None
    p95_micros: int | None
    cost_micros: int | None
    unpriced: int
    thumbs_up: int
    thumbs_down: int


@dataclass(frozen=True, slots=True)
class ByInstructions:
    """`is_cut` when there were more traces than are looked at: then it is about the newest of them."""

    rows: Sequence[Instructions]
    traces: int
    is_cut: bool


@dataclass(slots=True)
class _Turn:
    """All stretches of one turn; the newest says what it became."""

    newest: Row
    micros: int = 0
    costs: list[int | None] = field(default_factory=list[int | None])
    thumbs: tuple[int, int] = (0, 0)


async def by_instructions(db: Database, filters: Filters, *, most: int = MOST_TRACES) -> ByInstructions:
    """Of the turns that began in a time, those with most turns first."""
    rows = await db.scan(_newest(filters.named), {**filters.parameters, "most": most + 1})
    if not rows:
        return ByInstructions([], 0, is_cut=False)
    # No further back than what is looked at, or a busy quarter would be read for its thumbs.
    within = {"tenant_id": filters.tenant_id, "since": rows[-1]["started_at"], "until": filters.until}
    said = await db.scan(_THUMBS, within)
    return await asyncio.to_thread(_summed, rows[:most], said, is_cut=len(rows) > most)


@functools.cache
def _newest(named: tuple[str, ...]) -> Prepared:
    query = scoped(_t, *(_t.c[name] for name in _COLUMNS)).where(
        _t.c.started_at >= bindparam("since", type_=BigInteger), _t.c.started_at < bindparam("until", type_=BigInteger)
    )
    for name in named:
        query = query.where(_t.c[name] == bindparam(name))
    return Prepared(query.order_by(_t.c.started_at.desc()).limit(bindparam("most", type_=Integer)))


_THUMBS = Prepared(
    scoped(_f, _f.c.turn_id, _f.c.score, func.count().label("count"))
    .where(
        _f.c.kind == "thumb",
        _f.c.source == "user",
        _f.c.replaced_at.is_(None),
        _f.c.turn_id.in_(
            select(_t.c.turn_id).where(
                and_(
                    _t.c.tenant_id == bindparam("tenant_id"),
                    _t.c.started_at >= bindparam("since", type_=BigInteger),
                    _t.c.started_at < bindparam("until", type_=BigInteger),
                )
            )
        ),
    )
    .group_by(_f.c.turn_id, _f.c.score)
)


def _summed(rows: Sequence[Row], said: Sequence[Row], *, is_cut: bool) -> ByInstructions:
    turns: dict[str, _Turn] = {}
    for row in rows:
        turn = turns.setdefault(row["turn_id"], _Turn(row))
        turn.micros += row["duration_micros"]
        turn.costs.append(row["cost_micros"])
    for each in said:
        if (turn := turns.get(each["turn_id"])) is not None:
            up, down = turn.thumbs
            turn.thumbs = (up + each["count"], down) if each["score"] > 0 else (up, down + each["count"])
    groups: dict[tuple[str, str], list[_Turn]] = {}
    for turn in turns.values():
        groups.setdefault((turn.newest["agent"], turn.newest["instructions_hash"]), []).append(turn)
    found = [_of(hash, agent, group) for (agent, hash), group in groups.items()]
    return ByInstructions(sorted(found, key=lambda each: (-each.turns, each.hash)), len(rows), is_cut)


def _of(hash: str, agent: str, group: Sequence[_Turn]) -> Instructions:
    lengths = sorted(turn.micros for turn in group)
    costs = [sum(each for each in turn.costs if each is not None) for turn in group if None not in turn.costs]
    return Instructions(
        hash=hash,
        agent=agent,
        # Rows come newest first.
        release_id=group[0].newest["release_id"],
        turns=len(group),
        failed=sum(turn.newest["status"] == "failed" for turn in group),
        p50_micros=_rank(lengths, 0.5),
        p95_micros=_rank(lengths, 0.95),
        cost_micros=sum(costs) if costs else None,
        unpriced=len(group) - len(costs),
        thumbs_up=sum(turn.thumbs[0] for turn in group),
        thumbs_down=sum(turn.thumbs[1] for turn in group),
    )


def _rank(ordered: Sequence[int], share: float) -> int | None:
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None
