"""The list of conversations for staff: newest first, by what became of them; no word of what was said in them."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

from sqlalchemy import bindparam, literal_column, or_, select
from sqlalchemy.sql.elements import ColumnElement

from handrail.core import json
from handrail.core.errors import UsageError
from handrail.db import Database, Prepared, Row, keys_of, scoped
from handrail.insight.scorecard import ANY_UNPRICED, MODEL, UNPRICED, ConversationFact, Status
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
        tool_failed, rated, recommended, thumbed, valued: a tool gave no answer, or the user gave a rating, an NPS
            answer or a thumb, or a value event came.
        happened: kind and reason of what a dashboard counts, such as `error:deadline_exceeded`, or a kind alone; of
            calls of models `model:<provider>/<model>`, and by why a cost is not known. Only in turns of `happened_in`,
            which is an intent.
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
    tool_failed: bool | None = None
    rated: bool | None = None
    recommended: bool | None = None
    thumbed: bool | None = None
    valued: bool | None = None
    happened: str | None = None
    happened_in: str | None = None
    min_cost_micros: int | None = None
    min_latency_micros: int | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """A part of the list; `next_cursor` gives the next one, if there is one."""

    conversations: Sequence[ConversationFact]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Totals:
    """What all of a list comes to, of its newest `MOST_SUMMED` where it `is_cut`.

    Attributes:
        happened: how often what was asked for by that name happened; None where nothing was.
    """

    conversations: int
    is_cut: bool
    turns: int
    failed_turns: int
    tool_calls: int
    thumbs: int
    value_micros: int
    cost_micros: int
    unpriced_calls: int
    happened: int | None


MOST_SUMMED = 10_000
_SUMMED = (
    "turns",
    "failed_turns",
    "tool_calls",
    "thumbs_up",
    "thumbs_down",
    "value_micros",
    "cost_micros",
    "unpriced_calls",
)
# What a reason is, where it is looked for: in the conversations that can have one.
_KINDS: Mapping[str, str | None] = {
    "error": "failed", "escalation": "escalated", "guardrail": "tripped", "fallback": None, "denied": None,
    MODEL: "called", ANY_UNPRICED: "unpriced", **dict.fromkeys(UNPRICED, "unpriced"),
}  # fmt: skip
_ONE, _NIL = literal_column("1"), literal_column("0")

# Flags are literals, so that both databases see which index answers them.
_YES: Mapping[str, ColumnElement[bool]] = {
    "escalated": _f.c.is_escalated == _ONE,
    "thumbs_down": _f.c.thumbs_down > _NIL,
    "tripped": _f.c.tripped > _NIL,
    "failed": _f.c.failed_turns > _NIL,
    "tool_failed": _f.c.tool_failures > _NIL,
    "rated": _f.c.csat.is_not(None),
    "recommended": _f.c.nps.is_not(None),
    "thumbed": _f.c.thumbs_up + _f.c.thumbs_down > _NIL,
    "valued": _f.c.value_micros != _NIL,
    "called": _f.c.model_calls > _NIL,
    "unpriced": _f.c.unpriced_calls > _NIL,
}
_NO: Mapping[str, ColumnElement[bool]] = {
    "escalated": _f.c.is_escalated == _NIL,
    "thumbs_down": _f.c.thumbs_down == _NIL,
    "tripped": _f.c.tripped == _NIL,
    "failed": _f.c.failed_turns == _NIL,
    "tool_failed": _f.c.tool_failures == _NIL,
    "rated": _f.c.csat.is_(None),
    "recommended": _f.c.nps.is_(None),
    "thumbed": _f.c.thumbs_up + _f.c.thumbs_down == _NIL,
    "valued": _f.c.value_micros == _NIL,
    "called": _f.c.model_calls == _NIL,
    "unpriced": _f.c.unpriced_calls == _NIL,
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
    "happened": lambda: _f.c.contribution.like(bindparam("happened"), escape="!"),
}
# Without the tenant, by which SQLite would look for all rows of it.
_SUBJECTS = Prepared(
    select(_f.c.subject)
    .distinct()
    .where(
        _f.c.tenant_id == bindparam("tenant_id"),
        _f.c.started_at >= bindparam("since"),
        _f.c.started_at < bindparam("until"),
        _f.c.subject.is_not(None),
    )
    .limit(bindparam("limit"))
)
_THESE = Prepared(select(_f).where(_f.c.conversation_id.in_(keys_of("ids"))))


async def conversations(
    db: Database, filters: ConversationFilters, *, cursor: str | None = None, limit: int = 50
) -> Page:
    """A page of conversations, the newest first.

    Raises:
        InvalidCursor: the cursor is none of this list's.
    """
    plain, flags = asked(filters)
    after = place_of(cursor)
    statement = _statement(tuple(sorted(plain)), flags, after is not None)
    at, conversation_id = after or (None, None)
    given = plain | {"tenant_id": filters.tenant_id, "limit": limit + 1}
    rows = await db.scan(statement, given | ({} if after is None else {"at": at, "before": conversation_id}))
    shown = _newest_first(rows)[:limit]
    return Page(shown, _cursor(shown[-1]) if len(rows) > limit else None)


async def subjects_of(db: Database, tenant_id: str, since: int, until: int, *, limit: int) -> Sequence[str]:
    """Whose conversations began in this time."""
    given = {"tenant_id": tenant_id, "since": since, "until": until, "limit": limit}
    return [row["subject"] for row in await db.scan(_SUBJECTS, given)]


async def these(db: Database, tenant_id: str, conversation_ids: Iterable[str]) -> Sequence[ConversationFact]:
    """The lines of these conversations, the newest first."""
    ids = json.dumps(dict.fromkeys(conversation_ids, 1))
    return _newest_first(row for row in await db.scan(_THESE, {"ids": ids}) if row["tenant_id"] == tenant_id)


async def totals(db: Database, filters: ConversationFilters) -> Totals:
    """What the whole list comes to, so that whoever came from a number finds it again."""
    plain, flags = asked(filters)
    given = plain | {"tenant_id": filters.tenant_id, "limit": MOST_SUMMED + 1}
    rows = await db.scan(_newest(tuple(sorted(plain)), flags), given)
    found = rows[:MOST_SUMMED]
    sums = {name: sum(row[name] for row in found) for name in _SUMMED}
    return Totals(
        len(found),
        len(rows) > MOST_SUMMED,
        sums["turns"],
        sums["failed_turns"],
        sums["tool_calls"],
        sums["thumbs_up"] + sums["thumbs_down"],
        sums["value_micros"],
        sums["cost_micros"],
        sums["unpriced_calls"],
        None if filters.happened is None else sum(_times(row["contribution"], filters) for row in found),
    )


def kind_of(happened: str) -> str:
    """The kind of what happened.

    Raises:
        UsageError: no kind that anything is counted by.
    """
    kind = happened.partition(":")[0]
    if kind not in _KINDS:
        raise UsageError(f"there is no kind {kind[:40]!r}; there are {', '.join(_KINDS)}", param="happened")
    return kind


def asked(filters: ConversationFilters) -> tuple[dict[str, Any], tuple[tuple[str, Any], ...]]:
    """What is compared with a value that is given, and what is a condition of its own."""
    wanted = {each.name: value for each in fields(filters) if (value := getattr(filters, each.name)) is not None}
    plain = {name: value for name, value in wanted.items() if name in _GIVEN}
    flags = {name: value for name, value in wanted.items() if name not in (*_GIVEN, "tenant_id", "happened_in")}
    if filters.happened is not None:
        if (flag := _KINDS[kind_of(filters.happened)]) is not None:
            flags[flag] = True
        plain["happened"] = _pattern(filters.happened, filters.happened_in)
    return plain, tuple(sorted(flags.items()))


def conditions(names: Iterable[str], flags: Iterable[tuple[str, Any]]) -> Sequence[ColumnElement[bool]]:
    """The same as conditions on the table of facts, their values being parameters of these names."""
    return [*(_GIVEN[name]() for name in names), *(_flag(*each) for each in flags)]


def _newest_first(rows: Iterable[Row]) -> Sequence[ConversationFact]:
    found = sorted(map(ConversationFact.of, rows), key=lambda each: (each.started_at, each.conversation_id))
    return found[::-1]


def _pattern(happened: str, intent: str | None) -> str:
    """Where a contribution says `..., intent, kind, reason, count]`."""
    kind, _, reason = happened.partition(":")
    parts = [*([intent] if intent else []), kind, *([reason] if reason else [])]
    text = ",".join(json.dumps(each) for each in parts)
    return "%" + re.sub(r"([!%_])", r"!\1", text) + ",%"


def _times(contribution: str, filters: ConversationFilters) -> int:
    kind, _, wanted = (filters.happened or "").partition(":")
    told = json.loads(contribution)
    calls = [[*key, amounts["calls"]] for *key, amounts in told.get("usage", ())]
    return sum(
        count
        for _, _, intent, of, reason, count in [*told["reasons"], *calls]
        if of == kind and wanted in ("", reason) and filters.happened_in in (None, intent)
    )


@lru_cache(maxsize=256)
def _newest(names: Sequence[str], flags: Sequence[tuple[str, Any]]) -> Prepared:
    columns = [_f.c[name] for name in _SUMMED] + ([_f.c.contribution] if "happened" in names else [])
    wanted = scoped(_f, *columns).where(*conditions(names, flags))
    return Prepared(wanted.order_by(_f.c.started_at.desc()).limit(bindparam("limit")))


@lru_cache(maxsize=256)
def _statement(names: Sequence[str], flags: Sequence[tuple[str, Any]], goes_on: bool) -> Prepared:
    """The ids are found in an index alone, and only what is shown is read from the table; who asks sorts that, or
    SQLite would walk through all of the index for the order's sake."""
    order = (_f.c.started_at.desc(), _f.c.conversation_id.desc())
    ids = scoped(_f, _f.c.conversation_id).where(*conditions(names, flags))
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


def place_of(cursor: str | None) -> tuple[int, str] | None:
    """Where a page begins: behind the conversation that began then.

    Raises:
        InvalidCursor: no list gave this cursor.
    """
    if cursor is None:
        return None
    at, _, conversation_id = cursor.partition(".")
    if not (at.isascii() and at.isdigit() and len(at) < 19 and conversation_id):
        raise InvalidCursor(f"the cursor {cursor[:80]!r} is none of this list; leave it out to begin", param="cursor")
    return int(at), conversation_id
