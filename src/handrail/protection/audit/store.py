"""SQL for the audit log. Records are inserted by whoever does what they record; sealing gives them their place."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from sqlalchemy import bindparam, func, insert, or_, select, update

from handrail.core import json
from handrail.db import Batch, Database, Prepared, Row, scoped
from handrail.protection.audit.checkpoints import FIRST_PREVIOUS, Checkpoint
from handrail.protection.audit.merkle import Tree
from handrail.protection.audit.records import AuditRecord
from handrail.protection.audit.tables import audit_checkpoint, audit_key, audit_record

PAGE = 1000
# Greater than every id: ids are `aud_` and hex digits.
_NO_BOUND = "aud_g"

_r, _c, _k = audit_record, audit_checkpoint, audit_key

_ADD = Prepared(insert(_r))
_UNSEALED = Prepared(select(_r.c.id, _r.c.body).where(_r.c.seq.is_(None)).order_by(_r.c.id).limit(bindparam("limit")))
_COUNT_UNSEALED = Prepared(
    select(func.count().label("count"), func.min(_r.c.at).label("oldest")).where(_r.c.seq.is_(None))
)
_SEAL = Prepared(
    update(_r)
    .where(_r.c.id == bindparam("id_"), _r.c.seq.is_(None))
    .values(seq=bindparam("seq_"), leaf=bindparam("leaf_"))
)
_LAST = Prepared(select(_c).order_by(_c.c.number.desc()).limit(1))
_ADD_CHECKPOINT = Prepared(insert(_c))
_CHECKPOINTS = Prepared(
    select(_c).where(_c.c.number > bindparam("after")).order_by(_c.c.number).limit(bindparam("limit"))
)
_LOG = Prepared(select(_r).where(_r.c.seq > bindparam("after")).order_by(_r.c.seq).limit(bindparam("limit")))
_ADD_KEY = Prepared(insert(_k))
_KEYS = Prepared(select(_k))


_SEARCH = Prepared(
    scoped(_r)
    .where(
        _r.c.id < bindparam("before"),
        _r.c.at >= bindparam("since"),
        _r.c.at < bindparam("until"),
        or_(bindparam("action") == "", _r.c.action == bindparam("action")),
        or_(bindparam("actor") == "", _r.c.actor == bindparam("actor")),
        or_(bindparam("target") == "", _r.c.target == bindparam("target")),
        or_(bindparam("outcome") == "", _r.c.outcome == bindparam("outcome")),
    )
    .order_by(_r.c.id.desc())
    .limit(bindparam("limit"))
)


@dataclass(frozen=True, slots=True)
class AuditQuery:
    """Which records of a tenant; empty texts match everything. Times are microseconds since 1970 UTC."""

    tenant_id: str
    action: str = ""
    actor: str = ""
    target: str = ""
    outcome: str = ""
    since: int = 0
    until: int = 1 << 62
    before: str | None = None
    limit: int = 50


@dataclass(frozen=True, slots=True)
class Head:
    """Where the log stands: the last checkpoint's number and digest, and the tree over what is sealed."""

    number: int
    digest: str
    tree: Tree


class AuditStore:
    """The three tables of the log."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def add(self, batch: Batch, record: AuditRecord) -> None:
        """Append a record to the batch of what it records."""
        batch.add(
            _ADD,
            {
                "id": record.id,
                "tenant_id": record.tenant_id,
                "at": record.at,
                "action": record.action,
                "outcome": record.outcome,
                "actor": record.actor,
                "target": record.target,
                "body": record.body,
                "seq": None,
                "leaf": None,
            },
        )

    async def unsealed(self, limit: int) -> Sequence[tuple[str, str]]:
        """Ids and bodies of committed records that have no place yet, oldest first."""
        rows = await self._db.fetch_all(_UNSEALED, {"limit": limit})
        return [(row["id"], row["body"]) for row in rows]

    async def waiting(self) -> tuple[int, int | None]:
        """How many records wait to be sealed, and since when the oldest does."""
        row = await self._db.fetch_one(_COUNT_UNSEALED, {})
        assert row is not None
        return row["count"], row["oldest"]

    async def head(self) -> Head:
        row = await self._db.fetch_one(_LAST, {})
        if row is None:
            return Head(0, FIRST_PREVIOUS, Tree())
        frontier = tuple(bytes.fromhex(each) for each in json.loads(row["frontier"]))
        return Head(row["number"], _checkpoint(row).digest, Tree(row["size"], frontier))

    async def newest(self) -> Checkpoint | None:
        """The last checkpoint, if anything is sealed."""
        row = await self._db.fetch_one(_LAST, {})
        return None if row is None else _checkpoint(row)

    def seal(self, batch: Batch, checkpoint: Checkpoint, tree: Tree, leaves: Sequence[tuple[str, str]]) -> None:
        """Give records (id, leaf) the next places. A second sealer of the same moment gets `Conflict`."""
        first = tree.size - len(leaves)
        frontier = json.dumps([each.hex() for each in tree.frontier])
        batch.add(_ADD_CHECKPOINT, {**checkpoint.body(), "frontier": frontier})
        for at, (record_id, leaf) in enumerate(leaves):
            batch.add(_SEAL, {"id_": record_id, "seq_": first + at, "leaf_": leaf}, expect=1)

    async def keys(self) -> dict[str, str]:
        """Public keys by id."""
        return {row["key_id"]: row["public"] for row in await self._db.fetch_all(_KEYS, {})}

    def add_key(self, batch: Batch, key_id: str, public: str, at: int) -> None:
        batch.add(_ADD_KEY, {"key_id": key_id, "public": public, "first_used_at": at})

    async def search(self, query: AuditQuery) -> Sequence[AuditRecord]:
        """Records of one tenant, newest first."""
        rows = await self._db.scan(
            _SEARCH,
            {
                "tenant_id": query.tenant_id,
                "before": query.before or _NO_BOUND,
                "since": query.since,
                "until": query.until,
                "action": query.action,
                "actor": query.actor,
                "target": query.target,
                "outcome": query.outcome,
                "limit": query.limit,
            },
        )
        return [_record(row) for row in rows]

    async def log(self) -> AsyncIterator[AuditRecord]:
        """Every sealed record in order, of all tenants."""
        after = -1
        while rows := await self._db.scan(_LOG, {"after": after, "limit": PAGE}):
            for row in rows:
                yield _record(row)
            after = rows[-1]["seq"]

    async def checkpoints(self) -> AsyncIterator[Checkpoint]:
        """Every checkpoint in order."""
        after = 0
        while rows := await self._db.scan(_CHECKPOINTS, {"after": after, "limit": PAGE}):
            for row in rows:
                yield _checkpoint(row)
            after = rows[-1]["number"]


def _record(row: Row) -> AuditRecord:
    return AuditRecord(
        id=row["id"],
        tenant_id=row["tenant_id"],
        at=row["at"],
        action=row["action"],
        outcome=row["outcome"],
        actor=row["actor"],
        target=row["target"],
        body=row["body"],
        seq=row["seq"],
        leaf=row["leaf"],
    )


def _checkpoint(row: Row) -> Checkpoint:
    return Checkpoint(
        row["number"], row["size"], row["root"], row["previous"], row["at"], row["key_id"], row["signature"]
    )
