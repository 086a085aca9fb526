"""SQL for the key store: wrapped data keys, and who was erased.

It is a database of its own. Destroying a key overwrites it: `secure_delete` and an emptied log on SQLite, a rewritten
table on PostgreSQL.
"""

import base64
import contextlib
import hashlib
import hmac
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Integer, bindparam, delete, exists, func, insert, select, text, tuple_, update

from handrail.db import Conflict, Database, Prepared, Row
from handrail.protection.encryption.tables import POSTGRES_SCHEMA, KeyTables

_THERE = Prepared(text(f"SELECT 1 AS one FROM pg_tables WHERE schemaname = '{POSTGRES_SCHEMA}' LIMIT 1"))  # noqa: S608
_HMAC_SECRET = "subjects"  # noqa: S105 - its name


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A data key as it lies there."""

    id: str
    version: int
    tenant_id: str
    owner: str
    master_id: str
    wrapped: bytes
    created_at: int
    retired_at: int | None = None

    @property
    def place(self) -> str:
        """What the wrapping is bound to."""
        return f"{self.id}\0{self.version}\0{self.tenant_id}\0{self.owner}"

    @classmethod
    def of(cls, row: Row) -> "StoredKey":
        return cls(
            row["id"],
            row["version"],
            row["tenant_id"],
            row["owner"],
            row["master_id"],
            base64.b64decode(row["wrapped"]),
            row["created_at"],
            row["retired_at"],
        )


@dataclass(frozen=True, slots=True)
class Erasure:
    """Somebody's content was erased; `owner` is their HMAC."""

    tenant_id: str
    owner: str
    erased_at: int


class _Statements:
    def __init__(self, tables: KeyTables) -> None:
        k, e, s = tables.data_key, tables.erasure, tables.secret
        of_owner = (k.c.tenant_id == bindparam("tenant_id"), k.c.owner == bindparam("owner"))
        self.active = Prepared(select(k).where(*of_owner, k.c.retired_at.is_(None)))
        self.find = Prepared(select(k).where(k.c.id == bindparam("id"), k.c.version == bindparam("version")))
        self.add = Prepared(insert(k))
        self.retire = Prepared(
            update(k)
            .where(k.c.tenant_id == bindparam("tenant_id"), k.c.owner == bindparam("owner_"), k.c.retired_at.is_(None))
            .values(retired_at=bindparam("at"))
        )
        self.destroy = Prepared(
            delete(k).where(
                k.c.tenant_id == bindparam("tenant_id"),
                k.c.owner == bindparam("owner"),
                k.c.created_at <= bindparam("until"),
            )
        )
        self.destroy_version = Prepared(
            delete(k).where(k.c.id == bindparam("id"), k.c.version == bindparam("version"), k.c.retired_at.is_not(None))
        )
        self.older = Prepared(
            select(k).where(k.c.retired_at.is_(None), k.c.created_at < bindparam("before")).limit(bindparam("limit"))
        )
        self.page = Prepared(
            select(k)
            .where(tuple_(k.c.id, k.c.version) > tuple_(bindparam("id"), bindparam("version", type_=Integer)))
            .order_by(k.c.id, k.c.version)
            .limit(bindparam("limit"))
        )
        self.retire_version = Prepared(
            update(k)
            .where(k.c.id == bindparam("id_"), k.c.version == bindparam("version_"), k.c.retired_at.is_(None))
            .values(retired_at=bindparam("at"))
        )
        self.retired = Prepared(select(k).where(k.c.retired_at.is_not(None)))
        self.under_others = Prepared(
            select(k)
            .where(k.c.master_id != bindparam("master_id"))
            .order_by(k.c.id, k.c.version)
            .limit(bindparam("limit"))
        )
        self.rewrap = Prepared(
            update(k)
            .where(k.c.id == bindparam("id_"), k.c.version == bindparam("version_"), k.c.master_id == bindparam("seen"))
            .values(master_id=bindparam("master_id_"), wrapped=bindparam("wrapped_"))
        )
        self.count = Prepared(select(k.c.master_id, func.count().label("count")).group_by(k.c.master_id))
        self.note_erasure = Prepared(insert(e))
        # The same erasure again, such as in the same microsecond, does no harm.
        names = ("tenant_id", "owner", "erased_at")
        given = {name: bindparam(name, type_=e.c[name].type) for name in names}
        is_noted = exists().where(*(e.c[name] == given[name] for name in names))
        self.note_once = Prepared(insert(e).from_select(names, select(*given.values()).where(~is_noted)))
        self.erasures = Prepared(select(e).order_by(e.c.erased_at))
        self.find_secret = Prepared(select(s).where(s.c.name == bindparam("name")))
        self.add_secret = Prepared(insert(s))


class KeyStore:
    """The tables of keys and erasures. `await prepare()` first.

    Args:
        db: SQLite of its own, or the PostgreSQL of everything, in which the store has its own schema.
    """

    def __init__(self, db: Database) -> None:
        self._db = db
        self._tables = KeyTables.at(POSTGRES_SCHEMA if db.dialect == "postgresql" else None)
        self._sql = _Statements(self._tables)
        self._secret: bytes | None = None

    @staticmethod
    async def is_in(db: Database) -> bool:
        """Whether a PostgreSQL database has a key store."""
        return await db.fetch_one(_THERE, {}) is not None

    async def prepare(self) -> None:
        """Make the tables unless they are there, and the secret of the HMACs."""
        # Two processes may make the schema at once; one of them does.
        with contextlib.suppress(Conflict):
            async with self._db.batch() as batch:
                for statement in self._tables.create:
                    batch.add(statement, {})
        self._secret = await self._stored_secret()

    def owner_of(self, tenant_id: str, subject: str) -> str:
        """The subject as everything in this store knows it: a keyed HMAC within its tenant."""
        assert self._secret is not None, "prepare() comes first"
        name = f"{len(tenant_id)}:{tenant_id}:{subject}".encode()
        return hmac.new(self._secret, name, hashlib.sha256).hexdigest()[:32]

    async def active(self, tenant_id: str, owner: str) -> StoredKey | None:
        row = await self._db.fetch_one(self._sql.active, {"tenant_id": tenant_id, "owner": owner})
        return StoredKey.of(row) if row is not None else None

    async def find(self, key_id: str, version: int) -> StoredKey | None:
        row = await self._db.fetch_one(self._sql.find, {"id": key_id, "version": version})
        return StoredKey.of(row) if row is not None else None

    async def add(self, key: StoredKey) -> None:
        """Keep a new key; `Conflict` when the subject has an active one by now."""
        async with self._db.batch() as batch:
            batch.add(self._sql.add, _row(key))

    async def replace(self, old: StoredKey, new: StoredKey, *, at: int) -> None:
        """The old version only opens from now on; `Conflict` when somebody replaced it already."""
        async with self._db.batch() as batch:
            parameters = {"tenant_id": old.tenant_id, "owner_": old.owner, "at": at}
            batch.add(self._sql.retire, parameters, expect=1)
            batch.add(self._sql.add, _row(new))

    async def retire(self, tenant_id: str, owner: str, *, at: int) -> None:
        """Nothing more is sealed with the subject's key; what is sealed still opens."""
        async with self._db.batch() as batch:
            batch.add(self._sql.retire, {"tenant_id": tenant_id, "owner_": owner, "at": at})

    async def retire_versions(self, keys: Sequence[StoredKey], *, at: int) -> None:
        """Nothing more is sealed with these."""
        async with self._db.batch() as batch:
            for each in keys:
                batch.add(self._sql.retire_version, {"id_": each.id, "version_": each.version, "at": at})

    async def page(self, *, after: tuple[str, int], limit: int) -> list[StoredKey]:
        """All keys in the order of (id, version)."""
        rows = await self._db.scan(self._sql.page, {"id": after[0], "version": after[1], "limit": limit})
        return [StoredKey.of(row) for row in rows]

    async def destroy(self, erasure: Erasure) -> None:
        """Every key the subject had until then is gone, and the erasure is on record, in one batch."""
        async with self._db.batch() as batch:
            key = {"tenant_id": erasure.tenant_id, "owner": erasure.owner}
            batch.add(self._sql.destroy, key | {"until": erasure.erased_at})
            batch.add(self._sql.note_once, key | {"erased_at": erasure.erased_at})
        await self.scrub()

    async def destroy_retired(self, keys: Sequence[StoredKey]) -> None:
        """Versions that nothing is sealed with any more."""
        async with self._db.batch() as batch:
            for each in keys:
                batch.add(self._sql.destroy_version, {"id": each.id, "version": each.version})
        await self.scrub()

    async def retired(self) -> list[StoredKey]:
        return [StoredKey.of(row) for row in await self._db.scan(self._sql.retired, {})]

    async def older(self, before: int, *, limit: int = 100) -> list[StoredKey]:
        """Active keys that were made before."""
        rows = await self._db.scan(self._sql.older, {"before": before, "limit": limit})
        return [StoredKey.of(row) for row in rows]

    async def under_other_masters(self, master_id: str, *, limit: int = 100) -> list[StoredKey]:
        rows = await self._db.scan(self._sql.under_others, {"master_id": master_id, "limit": limit})
        return [StoredKey.of(row) for row in rows]

    async def rewrap(self, key: StoredKey, master_id: str, wrapped: bytes) -> None:
        """Put it under another master key, unless somebody did."""
        async with self._db.batch() as batch:
            batch.add(
                self._sql.rewrap,
                {
                    "id_": key.id,
                    "version_": key.version,
                    "seen": key.master_id,
                    "master_id_": master_id,
                    "wrapped_": base64.b64encode(wrapped).decode(),
                },
            )

    async def counts(self) -> dict[str, int]:
        """How many data keys lie under each master key."""
        return {row["master_id"]: row["count"] for row in await self._db.scan(self._sql.count, {})}

    async def erasures(self) -> list[Erasure]:
        rows = await self._db.scan(self._sql.erasures, {})
        return [Erasure(row["tenant_id"], row["owner"], row["erased_at"]) for row in rows]

    async def note_erasure(self, erasure: Erasure) -> None:
        """Only the record; `Conflict` when it is there."""
        async with self._db.batch() as batch:
            batch.add(self._sql.note_erasure, _erasure_row(erasure))

    async def scrub(self) -> None:
        """Nothing of a destroyed key stays in the store's own files."""
        await self._db.scrub(self._tables.data_key.fullname, rewrite=True)

    async def close(self) -> None:
        await self._db.close()

    async def _stored_secret(self) -> bytes:
        made = base64.b64encode(os.urandom(32)).decode()
        try:
            row = await self._db.fetch_one(self._sql.find_secret, {"name": _HMAC_SECRET})
            if row is None:
                async with self._db.batch() as batch:
                    batch.add(self._sql.add_secret, {"name": _HMAC_SECRET, "value": made})
        except Conflict:
            row = None
        row = row or await self._db.fetch_one(self._sql.find_secret, {"name": _HMAC_SECRET})
        assert row is not None, "it was committed just now"
        return base64.b64decode(row["value"])


def _row(key: StoredKey) -> dict[str, Any]:
    return {
        "id": key.id,
        "version": key.version,
        "tenant_id": key.tenant_id,
        "owner": key.owner,
        "master_id": key.master_id,
        "wrapped": base64.b64encode(key.wrapped).decode(),
        "created_at": key.created_at,
        "retired_at": None,
    }


def _erasure_row(erasure: Erasure) -> dict[str, Any]:
    return {"tenant_id": erasure.tenant_id, "owner": erasure.owner, "erased_at": erasure.erased_at}
