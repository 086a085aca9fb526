"""What must hold across the tables of all rooms, whatever happened to the processes that wrote them.

Each is one query that finds the rows for which it does not; the same on both databases.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Select, and_, case, exists, func, literal_column, or_, select
from sqlalchemy.sql.elements import ColumnElement

from handrail.db import Database, Prepared
from handrail.oversight.approvals.tables import approval as _a
from handrail.serving.conversations.tables import conversation as _c
from handrail.serving.conversations.tables import message as _m
from handrail.serving.conversations.tables import turn as _t

MOST_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Invariant:
    """`broken` gives the `id` of each row that breaks it."""

    name: str
    says: str
    broken: Prepared


@dataclass(frozen=True, slots=True)
class Finding:
    """One invariant, and the rows that break it; the first few by id."""

    name: str
    says: str
    rows: int
    examples: Sequence[str]

    @property
    def holds(self) -> bool:
        return self.rows == 0


def _is(column: ColumnElement[str], *values: str) -> ColumnElement[bool]:
    """Literals: a statement without parameters is the same on both drivers."""
    return or_(*(column == literal_column(f"'{each}'") for each in values))


_turns = select(_t.c.conversation_id, func.count().label("turns"), func.max(_t.c.seq).label("last"))
_by_conversation = _turns.group_by(_t.c.conversation_id).subquery()
_COUNTED_WRONG = (
    select(_c.c.id)
    .select_from(_c.outerjoin(_by_conversation, _by_conversation.c.conversation_id == _c.c.id))
    .where(
        or_(
            _c.c.turn_count != func.coalesce(_by_conversation.c.turns, literal_column("0")),
            _c.c.turn_count != func.coalesce(_by_conversation.c.last, literal_column("0")),
        )
    )
)
_WITHOUT_OWNER = select(_t.c.id).where(
    _is(_t.c.status, "running"),
    or_(
        _t.c.owner.is_(None),
        _t.c.lease_expires_at.is_(None),
        _t.c.started_at.is_(None),
        _t.c.epoch < literal_column("1"),
    ),
)
_ENDED_WITHOUT_TIME = select(_t.c.id).where(
    or_(
        and_(_is(_t.c.status, "completed", "failed", "cancelled"), _t.c.ended_at.is_(None)),
        and_(_is(_t.c.status, "queued", "running"), _t.c.ended_at.is_not(None)),
    )
)
_TWO_RUN = (
    select(_t.c.conversation_id.label("id"))
    .where(_is(_t.c.status, "running"))
    .group_by(_t.c.conversation_id)
    .having(func.count() > literal_column("1"))
)
_WAITS_FOR_NOTHING = select(_t.c.id).where(
    _is(_t.c.status, "requires_action"),
    ~exists().where(_a.c.turn_id == _t.c.id, or_(_is(_a.c.status, "pending"), _a.c.resumed_at.is_(None))),
)
_ASKED_OF_NOBODY = (
    select(_a.c.id)
    .join(_t, _t.c.id == _a.c.turn_id)
    .where(_is(_a.c.status, "pending"), ~_is(_t.c.status, "requires_action", "running", "queued"))
)
_said = (
    select(
        _m.c.turn_id,
        func.sum(case((_m.c.position >= literal_column("0"), literal_column("1")), else_=literal_column("0"))).label(
            "said"
        ),
        func.max(_m.c.position).label("last"),
    )
    .group_by(_m.c.turn_id)
    .subquery()
)
_HOLES = (
    select(_t.c.id)
    .select_from(_t.outerjoin(_said, _said.c.turn_id == _t.c.id))
    .where(or_(_said.c.said.is_(None), _said.c.said != _said.c.last + literal_column("1")))
)


def _invariant(name: str, says: str, broken: Select[tuple[str]]) -> Invariant:
    return Invariant(name, says, Prepared(broken))


INVARIANTS = (
    _invariant("turn_leases", "a running turn has an owner, a lease and an epoch", _WITHOUT_OWNER),
    _invariant(
        "turn_ends", "a turn that is over says when it ended, and one that is not does not", _ENDED_WITHOUT_TIME
    ),
    _invariant("one_running_turn", "one turn of a conversation runs at a time", _TWO_RUN),
    _invariant("turn_numbers", "the turns of a conversation are numbered without holes", _COUNTED_WRONG),
    _invariant("messages", "a turn's messages begin with the user's and have no holes", _HOLES),
    _invariant("parked_turns", "a turn that requires action waits for an approval", _WAITS_FOR_NOTHING),
    _invariant("approvals", "an approval that is pending belongs to a turn that is not over", _ASKED_OF_NOBODY),
)


async def findings(db: Database) -> Sequence[Finding]:
    """Every invariant with what breaks it. A server that writes meanwhile does not confuse it: each is one query."""
    found: list[Finding] = []
    for each in INVARIANTS:
        ids = [str(row["id"]) for row in await db.scan(each.broken, {})]
        found.append(Finding(each.name, each.says, len(ids), ids[:MOST_SHOWN]))
    return found
