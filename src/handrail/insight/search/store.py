"""SQL for the index: entries are written a page at a time, by rows that are given as one JSON parameter."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass

from sqlalchemy import JSON, BigInteger, Integer, bindparam, cast, delete, func, literal_column, or_, select, text

from handrail.core import json
from handrail.db import Batch, Database, Prepared, keys_of
from handrail.insight.search.blind import SearchKeys
from handrail.insight.search.tables import FILTERS
from handrail.insight.search.tables import search_entry as _e
from handrail.insight.search.tables import search_pending as _p

# A conversation that goes on is read once it was quiet for a while; one that never is, every few minutes.
QUIET_MICROS = 10 * 1_000_000
LATEST_MICROS = 120 * 1_000_000

_WAITING = Prepared(
    select(_p)
    .where(or_(_p.c.changed_at <= bindparam("quiet_since"), _p.c.since <= bindparam("latest")))
    .order_by(_p.c.since)
    .limit(bindparam("limit"))
)
_LAG = Prepared(select(func.count().label("count"), func.min(_p.c.since).label("since")).select_from(_p))
_LAG_OF = Prepared(
    select(func.count().label("count"), func.min(_p.c.since).label("since"))
    .select_from(_p)
    .where(_p.c.tenant_id == bindparam("tenant_id"))
)
_KNOWN = Prepared(
    select(_e.c.conversation_id, _e.c.key, _e.c.read_to, *(_e.c[name] for name in FILTERS)).where(
        _e.c.conversation_id.in_(keys_of("ids"))
    )
)
_TENANTS = Prepared(select(_e.c.tenant_id).distinct())
_OTHER_KEY = Prepared(
    select(_e.c.conversation_id)
    .where(_e.c.tenant_id == bindparam("tenant_id"), _e.c.key != bindparam("key"))
    .limit(literal_column("1"))
)
_GIVEN = "SELECT {} FROM json_each(:rows) AS given WHERE true"
_PENDING_ROW = _GIVEN.format(
    "given.key, given.value ->> 0, CAST(given.value ->> 1 AS BIGINT), CAST(given.value ->> 1 AS BIGINT), 1"
)
_AGAIN = (
    "ON CONFLICT (conversation_id) DO UPDATE SET changed_at = excluded.changed_at, changes = search_pending.changes + 1"
)
_INTO_PENDING = "INSERT INTO search_pending (conversation_id, tenant_id, since, changed_at, changes)"
_CHANGED = Prepared(text(f"{_INTO_PENDING} {_PENDING_ROW} {_AGAIN}").bindparams(bindparam("rows", type_=JSON)))
# These are quiet: they wait for nothing but their turn.
_READ_AGAIN = Prepared(
    text(
        f"{_INTO_PENDING} SELECT conversation_id, tenant_id, :at, 0, 1 FROM search_entry "  # noqa: S608 - our own names
        "WHERE tenant_id = :tenant_id AND key <> :key ON CONFLICT (conversation_id) DO NOTHING"
    ).bindparams(bindparam("at", type_=BigInteger))
)
_ENTRY_ROW = _GIVEN.format(
    "given.value ->> 0, CAST(given.value ->> 1 AS BIGINT), given.key, given.value ->> 2, "
    "CAST(given.value ->> 3 AS INTEGER), given.value ->> 4, CAST(given.value ->> 5 AS BIGINT), "
    + ", ".join(f"given.value ->> {place}" for place, _ in enumerate(FILTERS, 6))
)
_NEW = ", ".join(f"{name} = excluded.{name}" for name in ("key", "read_to", "words", "indexed_at", *FILTERS))
_SAVE = Prepared(
    text(
        "INSERT INTO search_entry (tenant_id, started_at, conversation_id, key, read_to, words, indexed_at, "
        f"{', '.join(FILTERS)}) {_ENTRY_ROW} ON CONFLICT (conversation_id) DO UPDATE SET {_NEW}"
    ).bindparams(bindparam("rows", type_=JSON))
)
_DONE = Prepared(
    delete(_p).where(
        _p.c.conversation_id.in_(keys_of("ids")),
        _p.c.changes
        == select(cast(literal_column("given.value").op("->>")(literal_column("0")), Integer))
        .select_from(func.json_each(bindparam("seen", type_=JSON)).table_valued("key", "value", name="given"))
        .where(literal_column("given.key") == _p.c.conversation_id)
        .scalar_subquery(),
    )
)
_FORGET = [
    Prepared(
        delete(each).where(
            each.c.tenant_id == bindparam("tenant_id_"), each.c.conversation_id == bindparam("conversation_id_")
        )
    )
    for each in (_e, _p)
]


@dataclass(frozen=True, slots=True)
class Pending:
    """A conversation that is to be read into the index."""

    conversation_id: str
    tenant_id: str
    changes: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """How many conversations wait to be read, and since when the first of them does."""

    count: int = 0
    since: int | None = None


@dataclass(frozen=True, slots=True)
class Filters:
    """By what a conversation is filtered, as it is counted; '' for none."""

    agent: str = ""
    release_id: str = ""
    intent: str = ""
    channel: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """What the index has of one conversation."""

    tenant_id: str
    started_at: int
    conversation_id: str
    key: str
    read_to: int
    words: str
    filters: Filters = Filters()


@dataclass(frozen=True, slots=True)
class Known:
    """What an entry was made of."""

    key: str
    read_to: int
    filters: Filters


class SearchStore:
    """The tables of the index, and the keys of what lies in them."""

    def __init__(self, db: Database, keys: SearchKeys) -> None:
        self._db = db
        self.keys = keys

    def changed(self, batch: Batch, conversations: Mapping[str, str], *, at: int) -> None:
        """Something may have been said in these conversations; each is given with its tenant."""
        if conversations:
            batch.add(_CHANGED, {"rows": json.dumps({key: [tenant, at] for key, tenant in conversations.items()})})

    async def waiting(self, limit: int, *, now: int) -> Sequence[Pending]:
        """What can be read now, what waits longest first."""
        given = {"quiet_since": now - QUIET_MICROS, "latest": now - LATEST_MICROS, "limit": limit}
        rows = await self._db.fetch_all(_WAITING, given)
        return [Pending(row["conversation_id"], row["tenant_id"], row["changes"]) for row in rows]

    async def lag(self, tenant_id: str | None = None) -> Waiting:
        """What is not in the index yet, of all tenants or of one."""
        row = await self._db.fetch_one(*((_LAG, {}) if tenant_id is None else (_LAG_OF, {"tenant_id": tenant_id})))
        return Waiting() if row is None else Waiting(row["count"], row["since"])

    async def known(self, conversation_ids: Iterable[str]) -> Mapping[str, Known]:
        """By conversation, under which key it was read, up to where, and by what it is filtered."""
        rows = await self._db.scan(_KNOWN, {"ids": json.dumps(dict.fromkeys(conversation_ids, 1))})
        return {
            row["conversation_id"]: Known(row["key"], row["read_to"], Filters(*(row[name] for name in FILTERS)))
            for row in rows
        }

    async def tenants(self) -> Sequence[str]:
        """Whose conversations are in the index."""
        return [row["tenant_id"] for row in await self._db.scan(_TENANTS, {})]

    async def has_others(self, tenant_id: str, key: str) -> bool:
        """Whether something lies under another key, so that nobody finds it."""
        return bool(await self._db.scan(_OTHER_KEY, {"tenant_id": tenant_id, "key": key}))

    def read_others_again(self, batch: Batch, tenant_id: str, key: str, *, at: int) -> None:
        """What lies under another key is to be read again."""
        batch.add(_READ_AGAIN, {"tenant_id": tenant_id, "key": key, "at": at})

    def save(self, batch: Batch, entries: Sequence[Entry], *, at: int) -> None:
        """Put these in; `Conflict` when one of their conversations is gone."""
        rows = {
            each.conversation_id: [
                each.tenant_id, each.started_at, each.key, each.read_to, each.words, at, *astuple(each.filters),
            ]
            for each in entries
        }  # fmt: skip
        if rows:
            batch.add(_SAVE, {"rows": json.dumps(rows)})

    def done(self, batch: Batch, pending: Sequence[Pending]) -> None:
        """They are read, but for those that changed meanwhile."""
        if pending:
            seen = {each.conversation_id: [each.changes] for each in pending}
            batch.add(_DONE, {"ids": json.dumps(seen), "seen": json.dumps(seen)})

    def forget(self, batch: Batch, tenant_id: str, conversation_id: str) -> None:
        """A conversation's rows go with this batch, and what is known of its words before them."""
        for statement in _FORGET:
            batch.add(statement, {"tenant_id_": tenant_id, "conversation_id_": conversation_id})
