"""SQL for what is counted about conversations."""

from sqlalchemy import insert

from handrail.core.ids import new_id
from handrail.db import Batch, Database, Prepared
from handrail.insight.scorecard import tables

_CHANGED = Prepared(insert(tables.fact_change))


class FactStore:
    """The tables of the scorecard."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def changed(self, batch: Batch, tenant_id: str, conversation_id: str, *, at: int) -> None:
        """Something that is counted about this conversation is in this batch; it is counted anew soon after."""
        row = {"id": new_id("chg"), "tenant_id": tenant_id, "conversation_id": conversation_id, "created_at": at}
        batch.add(_CHANGED, row)
