"""Approvals that are kept no longer."""

from sqlalchemy import bindparam, delete, func, literal_column, select
from sqlalchemy.sql.elements import ColumnElement

from handrail.db import BEFORE, Batch, Database, Expiry, Prepared
from handrail.oversight.approvals.tables import approval as _a
from handrail.oversight.approvals.tables import approval_delegation, approval_question, approval_view
from handrail.oversight.approvals.tables import approval_vote as _v

_LONG_AGO = (
    _a.c.status != literal_column("'pending'"),
    _a.c.resumed_at.is_not(None),
    _a.c.decided_at < bindparam("before"),
)
_OF_CONVERSATION = (_a.c.tenant_id == bindparam("tenant_id"), _a.c.conversation_id == bindparam("conversation_id_"))
_COUNT = Prepared(select(_a.c.tenant_id, func.count().label("count")).where(*_LONG_AGO).group_by(_a.c.tenant_id))


def _deleting(*which: ColumnElement[bool]) -> tuple[Prepared, ...]:
    """What people said, asked and saw first, then the approvals themselves."""
    ids = select(_a.c.id).where(*which)
    parts = [delete(each).where(each.c.approval_id.in_(ids)) for each in (_v, approval_question, approval_view)]
    return tuple(Prepared(each) for each in (*parts, delete(_a).where(*which)))


_DELETE_OLD = _deleting(*_LONG_AGO)
_DELETE_OF_CONVERSATION = _deleting(*_OF_CONVERSATION)
OLD_DELEGATIONS = Expiry(approval_delegation, approval_delegation.c.ends_at < BEFORE)


class ApprovalRetention:
    """What the retention job does to approvals."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def count(self, *, before: int) -> dict[str, int]:
        """By tenant, how many were decided before and used."""
        rows = await self._db.scan(_COUNT, {"before": before})
        return {row["tenant_id"]: row["count"] for row in rows}

    def delete_decided(self, batch: Batch, *, before: int) -> None:
        """Approvals with all that was said to them; one that waits, or whose turn does not know yet, stays."""
        for statement in _DELETE_OLD:
            batch.add(statement, {"before": before})

    def delete_of_conversation(self, batch: Batch, tenant_id: str, conversation_id: str) -> None:
        for statement in _DELETE_OF_CONVERSATION:
            batch.add(statement, {"tenant_id": tenant_id, "conversation_id_": conversation_id})
