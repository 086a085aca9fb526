"""Who may see a conversation, what it is called in lists, and what happens to a new turn when others are open. Pure."""

import re
from collections.abc import Sequence
from typing import Literal

from handrail.core.principal import Principal, Role
from handrail.serving.conversations.records import Conversation, TurnStatus

MOST_QUEUED = 3
MOST_TITLE_CHARACTERS = 80
# Numbers and addresses are made of such, in groups with blanks between them.
_GROUP = re.compile(r"[!-~\d]+")
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


def title_of(message: str) -> str:
    """The beginning of a message, whole groups of it.

    Half of a card number is known as none and would be read by those who may not read the number: what the cut may have
    gone through is left out.
    """
    if len(message) <= MOST_TITLE_CHARACTERS:
        return message
    end = MOST_TITLE_CHARACTERS
    groups = list(_GROUP.finditer(message, 0, end))
    while groups and (groups[-1].end() == MOST_TITLE_CHARACTERS or _goes_on(message, groups, end)):
        end = groups.pop().start()
    return f"{message[:end].rstrip()}…"


def _goes_on(message: str, groups: Sequence[re.Match[str]], end: int) -> bool:
    """Whether the last group stands before the end and looks like a part of a number, which may hold letters too."""
    is_last = not message[groups[-1].end() : end].strip()
    return is_last and any(character.isdigit() for each in groups[-2:] for character in each[0])
