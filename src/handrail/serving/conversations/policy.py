"""Who may see a conversation, and what happens to a new turn when others are open. Pure."""

from collections.abc import Sequence
from typing import Literal

from handrail.core.principal import Principal, Role
from handrail.serving.conversations.records import Conversation, TurnStatus

MOST_QUEUED = 3
_STAFF = (Role.VIEWER, Role.REVIEWER, Role.APPROVER, Role.OPERATOR, Role.ADMIN)


def can_read(principal: Principal, conversation: Conversation) -> bool:
    """Its own user, or staff of the same tenant."""
    if principal.tenant_id != conversation.tenant_id:
        return False
    return principal.subject == conversation.subject or principal.has_role(*_STAFF)


def next_step(open_turns: Sequence[TurnStatus]) -> Literal["run", "queue", "refuse"]:
    """What a new turn does, given the statuses of the conversation's open turns."""
    if TurnStatus.RUNNING not in open_turns and TurnStatus.QUEUED not in open_turns:
        return "run"
    return "queue" if open_turns.count(TurnStatus.QUEUED) < MOST_QUEUED else "refuse"
