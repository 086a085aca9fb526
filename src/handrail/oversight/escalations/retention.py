"""Escalations that are kept no longer."""

from sqlalchemy import bindparam, delete, func, literal_column, select

from handrail.db import Batch, Database, Prepared
from handrail.oversight.escalations.tables import escalation as _e

_LONG_AGO = (_e.c.status == literal_column("'resolved'"), _e.c.updated_at < bindparam("before"))
_COUNT = Prepared(select(_e.c.tenant_id, func.count().label("count")).where(*_LONG_AGO).group_by(_e.c.tenant_id))
_DELETE_OLD = Prepared(delete(_e).where(*_LONG_AGO))
_DELETE_OF_CONVERSATION = Prepared(
    delete(_e).where(_e.c.tenant_id == bindparam("tenant_id"), _e.c.conversation_id == bindparam("conversation_id_"))
)


class EscalationRetention:
    """What the retention job does to escalations."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def count(self, *, before: int) -> dict[str, int]:
        """By tenant, how many were resolved before."""
        rows = await self._db.scan(_COUNT, {"before": before})
        return {row["tenant_id"]: row["count"] for row in rows}

    def delete_resolved(self, batch: Batch, *, before: int) -> None:
        """Those that people are done with; an open one stays however old it is."""
        batch.add(_DELETE_OLD, {"before": before})

    def delete_of_conversation(self, batch: Batch, tenant_id: str, conversation_id: str) -> None:
        batch.add(_DELETE_OF_CONVERSATION, {"tenant_id": tenant_id, "conversation_id_": conversation_id})
