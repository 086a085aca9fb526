"""Who runs a turn: leases by the database's clock, renewed by their owner, taken over when they have run out.

Every take-over is a compare-and-set on the epoch, and every write of a turn is fenced by it, so that a process that
slept through its lease can change nothing more.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Text, and_, bindparam, literal_column, select, update
from sqlalchemy.sql.elements import ColumnElement

from handrail.core import json
from handrail.db import Batch, Database, Prepared, keys_of, now
from handrail.serving.conversations.records import NOBODY, Turn
from handrail.serving.conversations.tables import turn as _t

EVERY_TENANT = "*"
_RUNNING = _t.c.status == literal_column("'running'")
_QUEUED = and_(
    # SQLite takes the partial index only for its own condition.
    _t.c.status.in_([literal_column("'queued'"), literal_column("'running'")]),
    _t.c.status == literal_column("'queued'"),
)
_LEASE: ColumnElement[int] = now() + bindparam("lease_micros", type_=_t.c.created_at.type)

_RENEW = Prepared(
    update(_t)
    .where(_RUNNING, _t.c.owner == bindparam("owner_", type_=Text), _t.c.id.in_(keys_of("turn_ids")))
    .values(lease_expires_at=_LEASE)
)
_EXPIRED = Prepared(
    select(_t).where(_RUNNING, _t.c.lease_expires_at < now()).order_by(_t.c.lease_expires_at).limit(bindparam("limit"))
)
_RUNNING_OF_OTHERS = Prepared(select(_t).where(_RUNNING, _t.c.owner != bindparam("owner_", type_=Text)))
_running = _t.alias("running_turn")
_LEFT_WAITING = Prepared(
    select(_t.c.tenant_id, _t.c.conversation_id)
    .where(
        _QUEUED,
        ~select(_running.c.id)
        .where(_running.c.conversation_id == _t.c.conversation_id, _running.c.status == literal_column("'running'"))
        .exists(),
    )
    .distinct()
    .limit(bindparam("limit"))
)
_TAKE_OVER = Prepared(
    update(_t)
    .where(
        _t.c.tenant_id == bindparam("tenant_id"),
        _t.c.id == bindparam("id_"),
        _t.c.epoch == bindparam("seen_epoch"),
        _RUNNING,
        (_t.c.lease_expires_at < now()) | (bindparam("sole_owner") == 1),
    )
    .values(owner=bindparam("owner_"), epoch=_t.c.epoch + 1, lease_expires_at=_LEASE)
)
_LET_GO = Prepared(
    update(_t)
    .where(
        _t.c.tenant_id == bindparam("tenant_id"),
        _t.c.id == bindparam("id_"),
        _t.c.epoch == bindparam("seen_epoch"),
        _RUNNING,
    )
    .values(lease_expires_at=now() - 1, owner=literal_column(f"'{NOBODY}'"))
)
_CONTINUE = Prepared(
    update(_t)
    .where(
        _t.c.tenant_id == bindparam("tenant_id"),
        _t.c.id == bindparam("id_"),
        _t.c.epoch == bindparam("seen_epoch"),
        _t.c.status == literal_column("'requires_action'"),
    )
    .values(status="running", owner=bindparam("owner_"), epoch=_t.c.epoch + 1, lease_expires_at=_LEASE, ended_at=None)
)

_CANCEL = {"cancel_requested_at": now()}
_REQUEST_CANCEL = Prepared(
    update(_t).where(_t.c.tenant_id == bindparam("tenant_id"), _t.c.id == bindparam("id_"), _RUNNING).values(_CANCEL)
)
_TENANT = bindparam("tenant_id", type_=Text)
_OF_TENANT = (_TENANT == EVERY_TENANT) | (_t.c.tenant_id == _TENANT)
_REQUEST_CANCEL_OF = {
    "agent": Prepared(update(_t).where(_RUNNING, _OF_TENANT, _t.c.agent == bindparam("name_")).values(_CANCEL)),
    "release": Prepared(update(_t).where(_RUNNING, _OF_TENANT, _t.c.release_id == bindparam("name_")).values(_CANCEL)),
    "tenant": Prepared(update(_t).where(_RUNNING, _t.c.tenant_id == bindparam("name_")).values(_CANCEL)),
}
_ASKED_TO_STOP = _t.c.cancel_requested_at.is_not(None)
_TO_CANCEL = Prepared(select(_t.c.id).where(_RUNNING, _t.c.owner == bindparam("owner_", type_=Text), _ASKED_TO_STOP))


@dataclass(frozen=True, slots=True)
class LeftWaiting:
    """A conversation in which a turn waits and none runs: whoever should have started it is gone."""

    tenant_id: str
    conversation_id: str


class LeaseStore:
    """The leases of all turns; used by the sweeper, not by tenants."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def renew(self, owner: str, turn_ids: Iterable[str], *, lease_micros: int) -> None:
        """Renew what this process runs with one statement. What it owns and does not run, because something went
        wrong between the two, is left to run out."""
        ids = json.dumps(dict.fromkeys(turn_ids, 1))
        async with self._db.batch() as batch:
            batch.add(_RENEW, {"owner_": owner, "turn_ids": ids, "lease_micros": lease_micros})

    async def expired(self, *, limit: int = 50) -> list[Turn]:
        """Running turns whose lease has run out, the oldest first."""
        return [Turn.of(row) for row in await self._db.scan(_EXPIRED, {"limit": limit})]

    async def of_others(self, owner: str) -> list[Turn]:
        """Running turns of any other process; for the sole owner of a database, these are dead."""
        return [Turn.of(row) for row in await self._db.scan(_RUNNING_OF_OTHERS, {"owner_": owner})]

    def request_cancel(self, batch: Batch, tenant_id: str, turn_id: str) -> None:
        """Ask whoever owns the turn, now or after a take-over, to stop it; `Conflict` when it does not run."""
        batch.add(_REQUEST_CANCEL, {"tenant_id": tenant_id, "id_": turn_id}, expect=1)

    def request_cancel_of(self, batch: Batch, tenant_id: str, kind: str, name: str) -> None:
        """The same for all turns of an `agent`, a `release` or a `tenant`; `*` is every tenant."""
        parameters = {"name_": name} if kind == "tenant" else {"tenant_id": tenant_id, "name_": name}
        batch.add(_REQUEST_CANCEL_OF[kind], parameters)

    async def to_cancel(self, owner: str) -> Sequence[str]:
        """Ids of this owner's running turns that somebody asked to stop."""
        return [row["id"] for row in await self._db.fetch_all(_TO_CANCEL, {"owner_": owner})]

    async def left_waiting(self, *, limit: int = 50) -> Sequence[LeftWaiting]:
        rows = await self._db.scan(_LEFT_WAITING, {"limit": limit})
        return [LeftWaiting(row["tenant_id"], row["conversation_id"]) for row in rows]

    def take_over(self, batch: Batch, turn: Turn, *, owner: str, lease_micros: int, sole_owner: bool = False) -> None:
        """Make this process the owner under the next epoch; `Conflict` when the lease lives or another was faster."""
        batch.add(
            _TAKE_OVER,
            {
                "tenant_id": turn.tenant_id,
                "id_": turn.id,
                "seen_epoch": turn.epoch,
                "owner_": owner,
                "lease_micros": lease_micros,
                "sole_owner": int(sole_owner),
            },
            expect=1,
        )

    def let_go(self, batch: Batch, turn: Turn) -> None:
        """The lease ends now and is nobody's; `Conflict` when it was not this owner's any more."""
        batch.add(_LET_GO, {"tenant_id": turn.tenant_id, "id_": turn.id, "seen_epoch": turn.epoch}, expect=1)

    def go_on(self, batch: Batch, turn: Turn, *, owner: str, lease_micros: int) -> None:
        """A parked turn runs again under the next epoch; `Conflict` when another turn runs or was faster."""
        batch.add(
            _CONTINUE,
            {
                "tenant_id": turn.tenant_id,
                "id_": turn.id,
                "seen_epoch": turn.epoch,
                "owner_": owner,
                "lease_micros": lease_micros,
            },
            expect=1,
        )
