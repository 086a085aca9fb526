"""What is said of a conversation goes with it."""

from sqlalchemy import bindparam, delete

from handrail.db import Batch, Prepared
from handrail.insight.feedback.tables import cache_verification, feedback, review_verdict, value_event

_DELETES = [
    Prepared(
        delete(each).where(
            each.c.tenant_id == bindparam("tenant_id"), each.c.conversation_id == bindparam("conversation_id_")
        )
    )
    for each in (feedback, value_event, review_verdict)
]
_DELETE_VERIFICATIONS = Prepared(
    delete(cache_verification).where(cache_verification.c.created_at < bindparam("before"))
)


class FeedbackRetention:
    """What erasure and the retention job do here."""

    def delete_of_conversation(self, batch: Batch, tenant_id: str, conversation_id: str) -> None:
        for statement in _DELETES:
            batch.add(statement, {"tenant_id": tenant_id, "conversation_id_": conversation_id})

    def delete_verifications(self, batch: Batch, *, before: int) -> None:
        """Verified cache hits belong to no conversation that is named; they end with the time."""
        batch.add(_DELETE_VERIFICATIONS, {"before": before})
