"""All that goes with a conversation, in one batch: what retention deletes, and what an erasure does."""

from handrail.db import Batch
from handrail.flows.services import Services


def forget_conversation(services: Services, batch: Batch, tenant_id: str, conversation_id: str) -> None:
    """Rows that refer to it first, the conversation last; what is counted of it stays, and of nobody."""
    background = services.background
    background.approvals.delete_of_conversation(batch, tenant_id, conversation_id)
    background.escalations.delete_of_conversation(batch, tenant_id, conversation_id)
    services.facts.forget(batch, tenant_id, conversation_id)
    services.search.forget(batch, tenant_id, conversation_id)
    background.vault.delete_of_conversation(batch, tenant_id, conversation_id)
    background.traces.delete_of_conversation(batch, tenant_id, conversation_id)
    background.feedback.delete_of_conversation(batch, tenant_id, conversation_id)
    background.conversations.delete(batch, tenant_id, conversation_id)
