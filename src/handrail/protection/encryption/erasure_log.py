"""Erasures as the main database knows them: which it has carried out.

The key store has the same list. A database that was restored from an older backup lacks some, which are then carried
out again; a key store that was restored lacks some, whose keys are then destroyed again.
"""

from sqlalchemy import insert, select

from handrail.db import Batch, Database, Prepared
from handrail.protection.encryption.key_store import Erasure
from handrail.protection.encryption.tables import erasure as _e

_ADD = Prepared(insert(_e))
_ALL = Prepared(select(_e).order_by(_e.c.erased_at))


class ErasureLog:
    """The table of erasures."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def add(self, batch: Batch, erasure: Erasure) -> None:
        """In the batch of the last deletion: what is here is done."""
        batch.add(_ADD, {"tenant_id": erasure.tenant_id, "owner": erasure.owner, "erased_at": erasure.erased_at})

    async def all(self) -> list[Erasure]:
        """Oldest first."""
        return [Erasure(row["tenant_id"], row["owner"], row["erased_at"]) for row in await self._db.scan(_ALL, {})]
