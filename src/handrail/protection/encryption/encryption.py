"""The key store and the keys at hand of one deployment; the store is opened when it is first needed."""

import os
from collections.abc import Sequence
from pathlib import Path

from handrail.core.clock import Clock
from handrail.db import Database
from handrail.db.sealed import SealedDatabase, SealedTable
from handrail.db.sqlite import SqliteDatabase
from handrail.protection.encryption.envelope import MARK
from handrail.protection.encryption.key_store import KeyStore
from handrail.protection.encryption.master import MasterKeyProblem, MasterKeys
from handrail.protection.encryption.resealing import Resealing
from handrail.protection.encryption.subject_keys import SubjectKeys

FILE = "keys.db"
# A tenant's own key lies where its subjects' do, under a name that no subject has.
OF_TENANT = "\0tenant"


class Encryption:
    """With a master key everything that is content is sealed; without one the store only remembers erasures.

    Args:
        db: the database of everything, unsealed; on PostgreSQL the key store is a schema of it.
        folder: where the key store's own file lies beside SQLite.
    """

    def __init__(self, db: Database, folder: Path, master: MasterKeys | None, clock: Clock) -> None:
        self._db = db
        self._path = folder / FILE
        self._master = master
        self._clock = clock
        self._store: KeyStore | None = None
        self.keys: SubjectKeys | None = None
        self._resealing: Resealing | None = None

    @property
    def is_on(self) -> bool:
        return self._master is not None

    async def start(self) -> None:
        """Open the store when it is needed, or was used before.

        Raises:
            MasterKeyProblem: content is sealed already, and no master key is set.
        """
        if self._master is not None:
            self.keys = SubjectKeys(await self.store(), self._master, self._clock)
        elif await self._has_store():
            sealed = sum((await (await self.store()).counts()).values())
            if sealed:
                await self.close()
                raise MasterKeyProblem(
                    f"{sealed} data key(s) of this database are wrapped and no master key is set: set "
                    "HANDRAIL_ENCRYPTION__MASTER_KEY, ...__KEY_FILE or ...__KMS to the one they were wrapped with"
                )

    async def store(self) -> KeyStore:
        """The key store, made if it is not there."""
        if self._store is None:
            store = KeyStore(self._db if self._db.dialect == "postgresql" else self._file())
            await store.prepare()
            self._store = store
        return self._store

    def sealed(self, tables: Sequence[SealedTable]) -> Database:
        """The database as the stores shall use it."""
        if self.keys is None:
            return self._db
        return SealedDatabase(self._db, tables, self.keys, MARK)

    def require_keys(self) -> SubjectKeys:
        """Raises `MasterKeyProblem` without a master key."""
        if self.keys is None:
            raise MasterKeyProblem(
                "no master key is set, so nothing is sealed; set HANDRAIL_ENCRYPTION__MASTER_KEY, ...__KEY_FILE "
                "or ...__KMS"
            )
        return self.keys

    async def secret_of_tenant(self, tenant_id: str, purpose: str) -> bytes | None:
        """A key for what is the whole tenant's; None without a master key. It changes when keys are renewed."""
        return None if self.keys is None else (await self.keys.of(tenant_id, OF_TENANT)).derived(purpose)

    async def resealing(self, tables: Sequence[SealedTable]) -> Resealing:
        """A pass over what these tables hold."""
        if self._resealing is None:
            self._resealing = Resealing(self._db, self.sealed(tables), tables, await self.store())
        return self._resealing

    async def close(self) -> None:
        if self._master is not None:
            await self._master.close()
        if self._store is not None and self._db.dialect != "postgresql":
            await self._store.close()

    async def known_store(self) -> KeyStore | None:
        """The key store, if there is one."""
        return await self.store() if await self._has_store() else None

    async def _has_store(self) -> bool:
        if self._store is not None:
            return True
        if self._db.dialect == "postgresql":
            return await KeyStore.is_in(self._db)
        return self._path.exists()

    def _file(self) -> Database:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
        return SqliteDatabase(self._path, self._clock)
