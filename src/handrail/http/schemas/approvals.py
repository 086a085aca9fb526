"""Approvals, what people said to them, delegations, and the pace of approvers."""

from typing import Any, Literal

from pydantic import Field

from handrail.core.principal import Role
from handrail.http.schemas.shared import SOMETIMES, At, Error, ErrorDetails, Page, Resource
from handrail.oversight.approvals import ApprovalStatus, Risk


class Clause(Resource):
    """What one rule asks for: so many votes of people in one of these roles or teams."""

    rule: str
    votes: int = Field(ge=1)
    roles: list[Role]
    teams: list[str]
    escalate_to: str | None


class Approvers(Resource):
    """Who may decide."""

    clauses: list[Clause]
    requester_may_approve: bool


class Approval(Resource):
    """A tool call that waits for people, or did."""

    id: str
    object: Literal["approval"]
    status: ApprovalStatus
    conversation_id: str
    turn_id: str
    tool_call_id: str
    agent: str
    release_id: str
    requester: str
    tool: str
    arguments: dict[str, Any]
    original_arguments: dict[str, Any] | None = Field(description="Before somebody edited them.")
    fingerprint: str = Field(description="Binds a decision to the call as it stands; send it with yours.")
    rules: list[str]
    risk: Risk
    votes_needed: int = Field(ge=1)
    approvers: Approvers
    reason: str
    expires_at: At
    escalated_at: At | None
    decided_at: At | None
    decided_by: str | None
    decision_reason: str | None
    resumed_at: At | None
    created_at: At


class ShownApproval(Approval):
    """An approval, and whether the caller may decide it."""

    may_decide: bool
    why_not: str | None


class ApprovalList(Page[ShownApproval]):
    """Approvals."""


class Vote(Resource):
    """What one person decided."""

    id: str
    object: Literal["approval_vote"]
    voter: str
    on_behalf_of: str | None
    decision: Literal["approve", "reject", "edit", "info"]
    reason: str | None
    diff: dict[str, Any] | None
    created_at: At


class Question(Resource):
    """What an approver asked the requester."""

    id: str
    object: Literal["approval_question"]
    approval_id: str
    question: str
    asked_at: At
    answer: str | None
    answered_at: At | None


class MissingVotes(Resource):
    """What a rule still lacks."""

    rule: str
    votes: int = Field(ge=1)
    roles: list[Role]
    teams: list[str]


class WholeApproval(ShownApproval):
    """An approval with all that was said to it."""

    votes: list[Vote]
    questions: list[Question]
    missing: list[MissingVotes]


class DecisionOutcome(Resource):
    """What became of one of several decisions: the approval, or an error."""

    id: str
    approval: Approval | None
    error: ErrorDetails | None


class DecisionOutcomeList(Page[DecisionOutcome]):
    """Outcomes, in the order of the request."""


class DecisionConflict(Error):
    """An error; once the approval is decided, with the first decision's result."""

    approval: Approval = SOMETIMES


class TurnApproval(Resource):
    """What a turn waits or waited for, as the user may see it."""

    id: str
    object: Literal["turn_approval"]
    tool: str
    arguments: dict[str, Any]
    status: ApprovalStatus
    expires_at: At
    decision_reason: str | None
    questions: list[Question]


class TurnApprovalList(Page[TurnApproval]):
    """In the order the turn asked."""


class Approver(Resource):
    """How fast one person decides."""

    object: Literal["approver"]
    subject: str
    decisions: int = Field(ge=1)
    approved_share: float = Field(ge=0, le=1)
    median_seconds: float = Field(ge=0)
    p10_seconds: float = Field(ge=0)
    hasty_share: float = Field(ge=0, le=1)
    hasty_seconds: float


class ApproverList(Page[Approver]):
    """The hastiest first."""


class Delegation(Resource):
    """`delegate` may decide in the place of `lender`."""

    id: str
    object: Literal["approval_delegation"]
    lender: str
    delegate: str
    roles: list[Role]
    teams: list[str]
    reason: str | None
    status: Literal["planned", "in_force", "ended", "revoked"]
    starts_at: At
    ends_at: At
    created_at: At
    revoked_at: At | None
    revoked_by: str | None


class DelegationList(Page[Delegation]):
    """Newest first."""
