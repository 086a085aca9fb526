"""Who sent the message of a turn: those whose rights it has, in whichever process it goes on."""

from handrail.core.principal import Principal, Role
from handrail.serving.conversations import Conversation, Turn


def roles_of(principal: Principal) -> tuple[str, ...]:
    """What is stored with a turn; nothing for an end user."""
    if principal.roles == frozenset({Role.END_USER}):
        return ()
    return tuple(sorted(role.value for role in principal.roles))


def sender_of(turn: Turn, conversation: Conversation) -> Principal:
    """The principal of a turn that was read from the store."""
    roles = frozenset(Role(role) for role in turn.roles) or frozenset({Role.END_USER})
    scopes, teams = frozenset(turn.scopes), frozenset(turn.teams)
    return Principal(turn.tenant_id, conversation.subject, roles, scopes, teams=teams)
