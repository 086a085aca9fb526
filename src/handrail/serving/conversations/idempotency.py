"""Idempotency keys: the same request twice makes one thing."""

import hashlib

from sqlalchemy import bindparam, delete, insert, select

from handrail.core.errors import UsageError
from handrail.core.principal import Principal
from handrail.db import Batch, Database, Prepared
from handrail.serving.conversations import tables

IDEMPOTENCY_MICROS = 24 * 3600 * 1_000_000

_i = tables.idempotency_key
_KEY_WHERE = (
    _i.c.tenant_id == bindparam("tenant_id"),
    _i.c.subject == bindparam("subject"),
    _i.c.route == bindparam("route"),
    _i.c.key == bindparam("key"),
)
_FIND_KEY = Prepared(select(_i).where(*_KEY_WHERE, _i.c.created_at >= bindparam("after")))
_DROP_OLD_KEY = Prepared(delete(_i).where(*_KEY_WHERE, _i.c.created_at < bindparam("after")))
_ADD_KEY = Prepared(insert(_i))
_SWEEP_KEYS = Prepared(delete(_i).where(_i.c.created_at < bindparam("after")))


class IdempotencyMismatch(UsageError):
    """The same Idempotency-Key came with another body."""

    code = "idempotency_mismatch"


class IdempotencyScope:
    """(tenant, subject, route, key) and what the body was."""

    __slots__ = ("body_hash", "key", "route")

    def __init__(self, route: str, key: str, body: bytes) -> None:
        self.route = route
        self.key = key
        self.body_hash = hashlib.sha256(body).digest()


class IdempotencyKeys:
    """The table of keys. `remember` rides in the batch of what the key makes."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def remembered(self, principal: Principal, scope: IdempotencyScope, *, at: int) -> str | None:
        """The id this key made within 24 hours; `IdempotencyMismatch` when the body was another."""
        row = await self._db.fetch_one(_FIND_KEY, _key(principal, scope, at))
        if row is None:
            return None
        if row["body_hash"] != scope.body_hash:
            raise IdempotencyMismatch(
                f"Idempotency-Key {scope.key!r} was used with another body; send a new key for a new request",
                param="Idempotency-Key",
            )
        return row["resource_id"]

    def remember(
        self, batch: Batch, principal: Principal, scope: IdempotencyScope, resource_id: str, *, at: int
    ) -> None:
        parameters = _key(principal, scope, at)
        batch.add(_DROP_OLD_KEY, parameters)
        batch.add(
            _ADD_KEY,
            parameters | {"body_hash": scope.body_hash, "resource_id": resource_id, "created_at": at},
        )

    async def sweep(self, *, at: int) -> None:
        """Forget keys older than 24 hours."""
        async with self._db.batch(long=True) as batch:
            batch.add(_SWEEP_KEYS, {"after": at - IDEMPOTENCY_MICROS})


def _key(principal: Principal, scope: IdempotencyScope, at: int) -> dict[str, object]:
    return {
        "tenant_id": principal.tenant_id,
        "subject": principal.subject,
        "route": scope.route,
        "key": scope.key,
        "after": at - IDEMPOTENCY_MICROS,
    }
