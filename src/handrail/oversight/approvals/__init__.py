"""Approvals: a tool call that could do harm waits for people, and runs only as they approved it.

Acts on each tool call after its permission and before its intent row; what waits is stored in the batch that parks the
turn. Closed: a rule that can't be judged matches, an approval that can't be stored fails the turn, and one that nobody
decided in time is never executed.
"""

from handrail.oversight.approvals.delegations import MOST_DAYS, Delegation, DelegationInvalid, NothingToDelegate, lent
from handrail.oversight.approvals.policy import (
    Ballot,
    Edit,
    Recorded,
    Refusal,
    RefusalCode,
    Voter,
    difference,
    escalation_teams,
    fingerprint,
    hindrance,
    identical,
    missing,
    opened,
    permit,
    required,
    standing,
    strictest,
    vote,
)
from handrail.oversight.approvals.questions import Question
from handrail.oversight.approvals.records import (
    Approval,
    ApprovalStatus,
    Approvers,
    Capacity,
    Clause,
    GuardedCall,
    Requirement,
    Risk,
    Vote,
)
from handrail.oversight.approvals.retention import OLD_DELEGATIONS, ApprovalRetention
from handrail.oversight.approvals.rules import Rules, compile_rules
from handrail.oversight.approvals.schema import ApprovalRule
from handrail.oversight.approvals.speed import HASTY_SECONDS, DecisionSpeed
from handrail.oversight.approvals.store import ApprovalStore, Seen

__all__ = [
    "HASTY_SECONDS",
    "MOST_DAYS",
    "OLD_DELEGATIONS",
    "Approval",
    "ApprovalRetention",
    "ApprovalRule",
    "ApprovalStatus",
    "ApprovalStore",
    "Approvers",
    "Ballot",
    "Capacity",
    "Clause",
    "DecisionSpeed",
    "Delegation",
    "DelegationInvalid",
    "Edit",
    "GuardedCall",
    "NothingToDelegate",
    "Question",
    "Recorded",
    "Refusal",
    "RefusalCode",
    "Requirement",
    "Risk",
    "Rules",
    "Seen",
    "Vote",
    "Voter",
    "compile_rules",
    "difference",
    "escalation_teams",
    "fingerprint",
    "hindrance",
    "identical",
    "lent",
    "missing",
    "opened",
    "permit",
    "required",
    "standing",
    "strictest",
    "vote",
]
