"""Which conversations may hold what is searched for, by the index and the filters of the list; and what was said there.

The index answers "maybe": whoever asks opens what it names and looks. Its own filters name what may fit, at once with
the words; what is counted of a conversation says whether it does.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import Text, bindparam, cast, exists, func, literal_column, or_, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.sql.elements import ColumnElement

from handrail.core import json
from handrail.db import Database, Prepared, Row, keys_of, scoped
from handrail.db.prepared import DialectName
from handrail.insight.scorecard.tables import conversation_fact as _f
from handrail.insight.search import Filters
from handrail.insight.search.tables import FILTERS, TERMS, term
from handrail.insight.search.tables import search_entry as _e
from handrail.reports.conversations import ConversationFilters, asked, conditions, place_of
from handrail.serving.conversations.tables import conversation as _c
from handrail.serving.conversations.tables import message as _m

# So many turns of a conversation are read, the newest: as many as its page shows.
MOST_TURNS = 200
_TIMES = ("since", "until")
# A message's place in its conversation as one number.
_TURN = 10_000
# By these few conversations are left, and each of them is looked up in the index; else the index is asked first.
_FEW = frozenset({"subject", "escalated", "thumbs_down", "tripped", "failed"})
# So many of the newest entries PostgreSQL reads through before it asks its index, which names the old ones with them:
# what is said in one of two hundred conversations is found at once.
NEWEST = 5_000

_PLACE = _m.c.turn_seq * literal_column(str(_TURN)) + _m.c.position
_OF_READERS = _m.c.role.in_([literal_column("'user'"), literal_column("'assistant'")])
_READ_TO = Prepared(
    select(
        _c.c.id, _c.c.tenant_id, _c.c.created_at,
        func.coalesce(
            select(func.max(_PLACE)).where(_m.c.conversation_id == _c.c.id).scalar_subquery(), literal_column("0")
        ).label("read_to"),
        *(func.coalesce(_f.c[name], literal_column("''")).label(name) for name in FILTERS),
    )
    .select_from(_c.outerjoin(_f, _f.c.conversation_id == _c.c.id))
    .where(_c.c.id.in_(keys_of("ids")))
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
    filters: Filters


async def candidates(
    db: Database, filters: ConversationFilters, words: Sequence[str], *, cursor: str | None, limit: int
) -> Sequence[Candidate]:
    """Those whose entry has all of these words as they lie in the index, the newest first.

    Raises:
        InvalidCursor: the cursor is none of this list's.
    """
    plain, flags = asked(filters)
    after = place_of(cursor)
    given: dict[str, Any] = {**plain, "tenant_id": filters.tenant_id, "limit": limit}
    given |= {f"word_{number}": _sought(db.dialect, word) for number, word in enumerate(words)}
    given["terms"] = [*words, *(term(name, plain[name]) for name in FILTERS if name in plain)]
    if after is not None:
        given |= dict(zip(("at", "before"), after, strict=True))
    rows: Sequence[Row] = ()
    for statement in _statements(db.dialect, _Shape(len(words), tuple(sorted(plain)), flags, after is not None)):
        rows = await db.scan(statement, given)
        if len(rows) == limit:
            break
    return [Candidate(row["conversation_id"], row["started_at"]) for row in rows]


async def fitting(db: Database, filters: ConversationFilters, candidates: Iterable[Candidate]) -> Sequence[str]:
    """Those that the filters fit now: the index hears of a change some seconds later."""
    ids = [each.conversation_id for each in candidates]
    plain, flags = asked(filters)
    if not {*plain} & {*FILTERS}:
        return ids
    rows = await db.scan(_fitting(tuple(sorted(plain)), flags), {**plain, "ids": _keys(ids)})
    there = {row["conversation_id"] for row in rows if row["tenant_id"] == filters.tenant_id}
    return [each for each in ids if each in there]


async def unread(db: Database, conversation_ids: Iterable[str]) -> Sequence[Unread]:
    """Those of these conversations that are still there, and how far they have come."""
    rows = await db.scan(_READ_TO, {"ids": _keys(conversation_ids)})
    return [
        Unread(
            row["id"], row["tenant_id"], row["created_at"], row["read_to"], Filters(*(row[name] for name in FILTERS))
        )
        for row in rows
    ]


async def texts(db: Database, conversation_ids: Iterable[str]) -> Mapping[str, Sequence[str]]:
    """By conversation, what its user and its agent said, in its order."""
    found: dict[str, list[str]] = {each: [] for each in conversation_ids}
    for row in await db.scan(_TEXTS, {"ids": _keys(found)}):
        if row["content"]:
            found[row["conversation_id"]].append(row["content"])
    return found


@lru_cache(maxsize=256)
def _fitting(names: tuple[str, ...], flags: tuple[tuple[str, Any], ...]) -> Prepared:
    # Without the tenant, by which SQLite would look for all rows of it.
    wanted = [_f.c.conversation_id.in_(keys_of("ids")), *conditions(names, flags)]
    return Prepared(select(_f.c.conversation_id, _f.c.tenant_id).where(*wanted))


@dataclass(frozen=True, slots=True)
class _Shape:
    """What a statement is made of; the values are its parameters."""

    words: int
    names: tuple[str, ...]
    flags: tuple[tuple[str, Any], ...]
    goes_on: bool

    @property
    def few(self) -> set[str]:
        """What leaves few conversations."""
        return {name for name, value in self.flags if value is True and name in _FEW} | ({*self.names} & {"subject"})

    @property
    def counted(self) -> Sequence[ColumnElement[bool]]:
        """What no entry says of its conversation."""
        return conditions([name for name in self.names if name not in (*_TIMES, *FILTERS)], self.flags)

    @property
    def is_one_term(self) -> bool:
        return self.words + len({*self.names} & {*FILTERS}) == 1


@lru_cache(maxsize=256)
def _statements(dialect: DialectName, shape: _Shape) -> Sequence[Prepared]:
    """One after another until one has filled the answer; the last one names all that there are."""
    if dialect == "sqlite":
        return [_of_few(dialect, shape) if shape.few else _read_through(dialect, shape)]
    if "subject" in shape.few:
        return [_of_few(dialect, shape)]
    return [_read_through(dialect, shape, NEWEST), _by_index(shape)]


def _of_few(dialect: DialectName, shape: _Shape) -> Prepared:
    """From the counted conversations to their entries."""
    at: Any = _f.c.started_at
    if "subject" in shape.few:
        # Not in the order of an index: SQLite would go through all conversations of the tenant for the order's sake.
        at = at + literal_column("0")
    held = exists().where(_e.c.conversation_id == _f.c.conversation_id, *_has_words(dialect, shape, _e))
    narrowed = conditions([name for name in shape.names if name not in _TIMES], shape.flags)
    wanted = [*_times(shape, at, _f.c.conversation_id), *narrowed, held]
    found = scoped(_f, _f.c.conversation_id, _f.c.started_at).where(*wanted)
    return Prepared(_newest(found, at, _f.c.conversation_id, bindparam("limit")))


def _read_through(dialect: DialectName, shape: _Shape, most: int | None = None) -> Prepared:
    """The entries one by one, the newest first: what costs least is looked at first."""
    table: Any = _e
    times = _times(shape, _e.c.started_at, _e.c.conversation_id)
    if most is not None:
        table = _newest(scoped(_e).where(*times), _e.c.started_at, _e.c.conversation_id, literal_column(str(most)))
        table = table.subquery()
    fits = [table.c[name] == bindparam(name) for name in FILTERS if name in shape.names]
    entries = select(table.c.conversation_id, table.c.started_at)
    if most is None:
        entries = scoped(_e, _e.c.conversation_id, _e.c.started_at).where(*times)
    found = entries.where(*fits, *_has_words(dialect, shape, table), *_is_counted(shape, table))
    return Prepared(_newest(found, table.c.started_at, table.c.conversation_id, bindparam("limit")))


def _by_index(shape: _Shape) -> Prepared:
    """The entries that PostgreSQL's index names by all words and filters together.

    How frequent a term is it knows, and not how often some come together: it would go through all entries where it
    hopes for many. So it is given more than one behind its back, and the rest is wanted of what it has found.
    """
    terms: Any = cast(bindparam("terms", type_=ARRAY(Text)), ARRAY(Text))
    held: ColumnElement[Any] = literal_column(TERMS, ARRAY(Text))
    named = scoped(_e, _e.c.conversation_id, _e.c.started_at)
    times = _times(shape, _e.c.started_at, _e.c.conversation_id)
    if shape.is_one_term and shape.counted:
        wanted = named.where(held.contains(terms), *times, *_is_counted(shape, _e))
        return Prepared(_newest(wanted, _e.c.started_at, _e.c.conversation_id, bindparam("limit")))
    hidden = held.contains(select(terms).scalar_subquery())
    found = named.where(hidden, *times).offset(literal_column("0")).subquery()
    wanted = select(found.c.conversation_id, found.c.started_at).where(*_is_counted(shape, found))
    return Prepared(_newest(wanted, found.c.started_at, found.c.conversation_id, bindparam("limit")))


def _newest(of: Any, at: Any, conversation_id: Any, most: Any) -> Any:
    return of.order_by(at.desc(), conversation_id.desc()).limit(most)


def _times(shape: _Shape, started_at: Any, conversation_id: Any) -> Sequence[ColumnElement[bool]]:
    """When it began, and behind which one the page begins."""
    times = {"since": started_at >= bindparam("since"), "until": started_at < bindparam("until")}
    wanted = [times[name] for name in shape.names if name in times]
    if shape.goes_on:
        at, before = bindparam("at"), bindparam("before")
        wanted += [started_at <= at, or_(started_at < at, conversation_id < before)]
    return wanted


def _is_counted(shape: _Shape, entries: Any) -> Sequence[ColumnElement[bool]]:
    wanted = shape.counted
    return [exists().where(_f.c.conversation_id == entries.c.conversation_id, *wanted)] if wanted else []


def _has_words(dialect: DialectName, shape: _Shape, entries: Any) -> Sequence[ColumnElement[bool]]:
    """Each word of an entry is five characters, with a blank on both sides, so none is found across two of them."""
    sought = [bindparam(f"word_{number}", type_=Text) for number in range(shape.words)]
    if dialect == "sqlite":
        # Faster than looking for the place, and no word holds a character that means something in a pattern.
        return [entries.c.words.op("GLOB")(each) for each in sought]
    return [func.strpos(entries.c.words, each) > literal_column("0") for each in sought]


def _sought(dialect: DialectName, word: str) -> str:
    return f"*{word}*" if dialect == "sqlite" else word


def _keys(ids: Iterable[str]) -> str:
    return json.dumps(dict.fromkeys(ids, 1))
