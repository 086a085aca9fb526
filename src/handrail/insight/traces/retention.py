"""Traces that are kept no longer, or whose conversation is not."""

from sqlalchemy import bindparam, delete

from handrail.db import BEFORE, Batch, Expiry, Prepared
from handrail.insight.traces.tables import trace

OLD_TRACES = Expiry(trace, trace.c.started_at < BEFORE)
_DELETE_OF_CONVERSATION = Prepared(
    delete(trace).where(
        trace.c.tenant_id == bindparam("tenant_id_"), trace.c.conversation_id == bindparam("conversation_id_")
    )
)


class TraceRetention:
    """What retention and erasure do to traces when their conversation goes."""

    def delete_of_conversation(self, batch: Batch, tenant_id: str, conversation_id: str) -> None:
        """Before the conversation itself, in the same batch."""
        batch.add(_DELETE_OF_CONVERSATION, {"tenant_id_": tenant_id, "conversation_id_": conversation_id})
