"""Which conversations may hold what is searched for, by the index and the filters of the list; and what was said there.

The index answers "maybe": whoever asks opens what it names and looks.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import Text, and_, bindparam, exists, func, literal_column, or_, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.sql.elements import ColumnElement

from handrail.core import json
from handrail.db import Database, Prepared, keys_of, scoped
from handrail.insight.scorecard.tables import conversation_fact as _f
from handrail.insight.search.tables import search_entry as _e
from handrail.reports.conversations import ConversationFilters, asked, conditions, place_of
from handrail.serving.conversations.tables import conversation as _c
from handrail.serving.conversations.tables import message as _m

# So many turns of a conversation are read, the newest: as many as its page shows.
MOST_TURNS = 200
# A message's place in its conversation as one number.
_TURN = 10_000
# By these few conversations are left, and each of them is looked up in the index; else the index is read through.
_FEW = frozenset({"subject", "escalated", "thumbs_down", "tripped", "failed"})

_PLACE = _m.c.turn_seq * literal_column(str(_TURN)) + _m.c.position
_OF_READERS = _m.c.role.in_([literal_column("'user'"), literal_column("'assistant'")])
_READ_TO = Prepared(
    select(
        _c.c.id, _c.c.tenant_id, _c.c.created_at,
        func.coalesce(
            select(func.max(_PLACE)).where(_m.c.conversation_id == _c.c.id).scalar_subquery(), literal_column("0")
        ).label("read_to"),
    ).where(_c.c.id.in_(keys_of("ids")))
)  # fmt: skip
_TEXTS = Prepared(
    select(_m.c.id, _m.c.tenant_id, _m.c.conversation_id, _m.c.turn_seq, _m.c.position, _m.c.role, _m.c.content)
    .join(_c, _c.c.id == _m.c.conversation_id)
    .where(
        _m.c.conversation_id.in_(keys_of("ids")),
        _m.c.tenant_id == _c.c.tenant_id,
        _OF_READERS,
        _m.c.turn_seq > _c.c.turn_count - literal_column(str(MOST_TURNS)),
    )
    .order_by(_m.c.conversation_id, _m.c.turn_seq, _m.c.position)
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A conversation that may be one."""

    conversation_id: str
    started_at: int

    @property
    def cursor(self) -> str:
        """What the page behind it begins with."""
        return f"{self.started_at}.{self.conversation_id}"


@dataclass(frozen=True, slots=True)
class Unread:
    """A conversation as the index must know it: `read_to` is the place of its last message."""

    conversation_id: str
    tenant_id: str
    started_at: int
    read_to: int


async def candidates(
    db: Database, filters: ConversationFilters, words: Sequence[str], *, cursor: str | None, limit: int
) -> Sequence[Candidate]:
    """Those whose entry has all of these words as they lie in the index, the newest first.

    Raises:
        InvalidCursor: the cursor is none of this list's.
    """
    plain, flags = asked(filters)
    after = place_of(cursor)
    is_few = "subject" in plain or any(value is True and name in _FEW for name, value in flags)
    statement = _statement(db.dialect, len(words), tuple(sorted(plain)), tuple(flags), is_few, after is not None)
    given: dict[str, Any] = {**plain, "tenant_id": filters.tenant_id, "limit": limit}
    if db.dialect == "sqlite":
        given |= {f"word_{number}": f" {word} " for number, word in enumerate(words)}
    else:
        given["words"] = list(words)
    if after is not None:
        given |= dict(zip(("at", "before"), after, strict=True))
    rows = await db.scan(statement, given)
    return [Candidate(row["conversation_id"], row["started_at"]) for row in rows]


async def unread(db: Database, conversation_ids: Iterable[str]) -> Sequence[Unread]:
    """Those of these conversations that are still there, and how far they have come."""
    rows = await db.scan(_READ_TO, {"ids": _keys(conversation_ids)})
    return [Unread(row["id"], row["tenant_id"], row["created_at"], row["read_to"]) for row in rows]


async def texts(db: Database, conversation_ids: Iterable[str]) -> Mapping[str, Sequence[str]]:
    """By conversation, what its user and its agent said, in its order."""
    found: dict[str, list[str]] = {each: [] for each in conversation_ids}
    for row in await db.scan(_TEXTS, {"ids": _keys(found)}):
        if row["content"]:
            found[row["conversation_id"]].append(row["content"])
    return found


@lru_cache(maxsize=256)
def _statement(
    dialect: str, words: int, names: Sequence[str], flags: Sequence[tuple[str, Any]], is_few: bool, goes_on: bool
) -> Prepared:
    has_words = _has_words(dialect, words)
    table: Any = _f if is_few else _e
    narrowed = conditions(names, flags)
    if is_few:
        of_other = exists().where(_e.c.conversation_id == _f.c.conversation_id, *has_words)
        wanted = [*narrowed, of_other]
    else:
        times = {"since": _e.c.started_at >= bindparam("since"), "until": _e.c.started_at < bindparam("until")}
        wanted = [*(times[name] for name in names if name in times), *has_words]
        if more := conditions([name for name in names if name not in times], flags):
            wanted.append(exists().where(_f.c.conversation_id == _e.c.conversation_id, *more))
    if goes_on:
        at, before = bindparam("at"), bindparam("before")
        later = and_(table.c.started_at == at, table.c.conversation_id < before)
        wanted += [table.c.started_at <= at, or_(table.c.started_at < at, later)]
    found = scoped(table, table.c.conversation_id, table.c.started_at).where(*wanted)
    return Prepared(found.order_by(table.c.started_at.desc(), table.c.conversation_id.desc()).limit(bindparam("limit")))


def _has_words(dialect: str, words: int) -> Sequence[ColumnElement[bool]]:
    if dialect == "sqlite":
        return [func.instr(_e.c.words, bindparam(f"word_{number}")) > literal_column("0") for number in range(words)]
    held: ColumnElement[Any] = func.string_to_array(_e.c.words, literal_column("' '"), type_=ARRAY(Text))
    return [held.contains(bindparam("words", type_=ARRAY(Text)))]


def _keys(ids: Iterable[str]) -> str:
    return json.dumps(dict.fromkeys(ids, 1))
