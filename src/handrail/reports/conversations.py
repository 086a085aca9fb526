"""The list of conversations for staff: newest first, by what became of them; no word of what was said in them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

from sqlalchemy import bindparam, literal_column, or_, select
from sqlalchemy.sql.elements import ColumnElement

from handrail.core.errors import UsageError
from handrail.db import Database, Prepared, scoped
from handrail.insight.scorecard import ConversationFact, Status
from handrail.insight.scorecard.tables import conversation_fact as _f


class InvalidCursor(UsageError):
    """The cursor is none that a list gave."""


@dataclass(frozen=True, slots=True)
class ConversationFilters:
    """Which conversations, None where it does not matter; times in microseconds of when they began.

    Attributes:
        status: `open` while a turn runs or waits for people, `pending` until the window is over, then `closed`.
        resolved: of closed ones only.
        min_latency_micros: of the slowest turn.
    """

    tenant_id: str
    since: int | None = None
    until: int | None = None
    agent: str | None = None
    release_id: str | None = None
    intent: str | None = None
    channel: str | None = None
    subject: str | None = None
    status: Status | None = None
    escalated: bool | None = None
    resolved: bool | None = None
    thumbs_down: bool | None = None
    tripped: bool | None = None
    failed: bool | None = None
    min_cost_micros: int | None = None
    min_latency_micros: int | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """A part of the list; `next_cursor` gives the next one, if there is one."""

    conversations: Sequence[ConversationFact]
    next_cursor: str | None


_ONE, _NIL = literal_column("1"), literal_column("0")

# Flags are literals, so that both databases see which index answers them.
_YES: Mapping[str, ColumnElement[bool]] = {
    "escalated": _f.c.is_escalated == _ONE,
    "thumbs_down": _f.c.thumbs_down > _NIL,
    "tripped": _f.c.tripped > _NIL,
    "failed": _f.c.failed_turns > _NIL,
}
_NO: Mapping[str, ColumnElement[bool]] = {
    "escalated": _f.c.is_escalated == _NIL,
    "thumbs_down": _f.c.thumbs_down == _NIL,
    "tripped": _f.c.tripped == _NIL,
    "failed": _f.c.failed_turns == _NIL,
}
_STATUS: Mapping[str, ColumnElement[bool]] = {
    "open": _f.c.closes_at.is_(None),
    "pending": (_f.c.is_closed == _NIL) & _f.c.closes_at.is_not(None),
    "closed": _f.c.is_closed == _ONE,
}
_GIVEN: Mapping[str, Callable[[], ColumnElement[bool]]] = {
    "since": lambda: _f.c.started_at >= bindparam("since"),
    "until": lambda: _f.c.started_at < bindparam("until"),
    **{
        name: (lambda name=name: _f.c[name] == bindparam(name))
        for name in ("agent", "release_id", "intent", "channel", "subject")
    },
    "min_cost_micros": lambda: _f.c.cost_micros >= bindparam("min_cost_micros"),
    "min_latency_micros": lambda: _f.c.latency_micros >= bindparam("min_latency_micros"),
}


async def conversations(
    db: Database, filters: ConversationFilters, *, cursor: str | None = None, limit: int = 50
) -> Page:
    """A page of conversations, the newest first.

    Raises:
        InvalidCursor: the cursor is none of this list's.
    """
    wanted = {each.name: value for each in fields(filters) if (value := getattr(filters, each.name)) is not None}
    plain = {name: value for name, value in wanted.items() if name in _GIVEN}
    flags = tuple(sorted((name, value) for name, value in wanted.items() if name not in _GIVEN and name != "tenant_id"))
    after = _place(cursor)
    statement = _statement(tuple(sorted(plain)), flags, after is not None)
    at, conversation_id = after or (None, None)
    given = plain | {"tenant_id": filters.tenant_id, "limit": limit + 1}
    rows = await db.scan(statement, given | ({} if after is None else {"at": at, "before": conversation_id}))
    found = sorted(map(ConversationFact.of, rows), key=lambda each: (each.started_at, each.conversation_id))
    shown = found[::-1][:limit]
    return Page(shown, _cursor(shown[-1]) if len(rows) > limit else None)


@lru_cache(maxsize=256)
def _statement(names: Sequence[str], flags: Sequence[tuple[str, Any]], goes_on: bool) -> Prepared:
    """The ids are found in an index alone, and only what is shown is read from the table; who asks sorts that, or
    SQLite would walk through all of the index for the order's sake."""
    order = (_f.c.started_at.desc(), _f.c.conversation_id.desc())
    ids = scoped(_f, _f.c.conversation_id).where(*(_GIVEN[name]() for name in names), *(_flag(*each) for each in flags))
    if goes_on:
        at, before = bindparam("at"), bindparam("before")
        ids = ids.where(_f.c.started_at <= at, or_(_f.c.started_at < at, _f.c.conversation_id < before))
    found = ids.order_by(*order).limit(bindparam("limit")).subquery()
    # The ids are the tenant's. Said again, SQLite would look for all rows of the tenant.
    shown = select(*(_f.c[each.name] for each in fields(ConversationFact)))
    return Prepared(shown.where(_f.c.conversation_id.in_(select(found.c.conversation_id))))


def _flag(name: str, value: Any) -> ColumnElement[bool]:
    if name == "status":
        return _STATUS[value]
    if name == "resolved":
        return _STATUS["closed"] & (_f.c.is_resolved == (_ONE if value else _NIL))
    return (_YES if value else _NO)[name]


def _cursor(shown: ConversationFact) -> str:
    """What the page after this line begins with."""
    return f"{shown.started_at}.{shown.conversation_id}"


def _place(cursor: str | None) -> tuple[int, str] | None:
    if cursor is None:
        return None
    at, _, conversation_id = cursor.partition(".")
    if not (at.isascii() and at.isdigit() and len(at) < 19 and conversation_id):
        raise InvalidCursor(f"the cursor {cursor[:80]!r} is none of this list; leave it out to begin", param="cursor")
    return int(at), conversation_id
