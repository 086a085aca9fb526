"""Escalations: a conversation goes to people instead of the agent, with all they need to go on.

Acts at the end of a turn that hands off; the row is stored in the turn's own last batch. Closed: a handoff that can't
be stored fails the turn, for nobody would ever read it.
"""

from handrail.oversight.escalations.policy import Attempt, customer_word, summarise
from handrail.oversight.escalations.retention import EscalationRetention
from handrail.oversight.escalations.store import Escalation, EscalationStatus, EscalationStore

__all__ = [
    "Attempt",
    "Escalation",
    "EscalationRetention",
    "EscalationStatus",
    "EscalationStore",
    "customer_word",
    "summarise",
]
