"""Conversations that are kept no longer: found, and deleted with all that is said in them."""

from collections.abc import Sequence

from sqlalchemy import bindparam, delete, literal_column, select, update

from handrail.db import Batch, Database, Prepared
from handrail.serving.conversations import tables

_c, _t, _m, _k = tables.conversation, tables.turn, tables.message, tables.tool_call
_UNDECIDED = [literal_column(f"'{each}'") for each in ("queued", "running", "requires_action")]
_IDLE = ~select(_t.c.id).where(_t.c.conversation_id == _c.c.id, _t.c.status.in_(_UNDECIDED)).correlate(_c).exists()
_DUE = Prepared(
    select(_c.c.tenant_id, _c.c.id)
    .where(_c.c.id > bindparam("after"), _c.c.updated_at < bindparam("before"), _IDLE)
    .order_by(_c.c.id)
    .limit(bindparam("limit"))
)
_ONE = (_c.c.tenant_id == bindparam("tenant_id"), _c.c.id == bindparam("id_"))
# Changes nothing, but a turn that begins now waits for this batch and then finds the conversation gone.
_CLAIM = Prepared(
    update(_c).where(*_ONE, _c.c.updated_at < bindparam("before"), _IDLE).values(updated_at=_c.c.updated_at)
)
_DELETE = [
    Prepared(delete(each).where(each.c.tenant_id == bindparam("tenant_id"), each.c.conversation_id == bindparam("id_")))
    for each in (_k, _m, _t)
]
_DELETE_CONVERSATION = Prepared(delete(_c).where(*_ONE))


class ConversationRetention:
    """What the retention job does to conversations."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def due(self, *, before: int, after: str, limit: int) -> Sequence[tuple[str, str]]:
        """(tenant_id, id) of conversations in which nothing happened since `before` and nothing is open, by id."""
        rows = await self._db.scan(_DUE, {"before": before, "after": after, "limit": limit})
        return [(row["tenant_id"], row["id"]) for row in rows]

    def claim(self, batch: Batch, tenant_id: str, conversation_id: str, *, before: int) -> None:
        """First in the batch that deletes it; `Conflict` when somebody wrote in it meanwhile."""
        batch.add(_CLAIM, {"tenant_id": tenant_id, "id_": conversation_id, "before": before}, expect=1)

    def delete(self, batch: Batch, tenant_id: str, conversation_id: str) -> None:
        """Last in that batch, when nothing of other rooms refers to it any more."""
        for statement in (*_DELETE, _DELETE_CONVERSATION):
            batch.add(statement, {"tenant_id": tenant_id, "id_": conversation_id})
