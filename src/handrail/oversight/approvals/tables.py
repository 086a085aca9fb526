"""Tool calls that wait for people, and what people said to them."""

from sqlalchemy import CheckConstraint, Column, ForeignKey, Index, Integer, Table, Text, text

from handrail.db import json_text, metadata, micros

_PENDING = text("status = 'pending'")
_UNRESUMED = text("resumed_at IS NULL AND status <> 'pending'")
_SAYS_YES = text("decision IN ('approve', 'edit')")

approval = Table(
    "approval",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("conversation_id", Text, ForeignKey("conversation.id"), nullable=False),
    Column("turn_id", Text, ForeignKey("turn.id"), nullable=False),
    # Not a foreign key: the call's own row is the intent, written only once it may run.
    Column("tool_call_id", Text, nullable=False),
    Column("agent", Text, nullable=False),
    Column("release_id", Text, nullable=False),
    Column("requester", Text, nullable=False),
    Column("tool", Text, nullable=False),
    json_text("arguments", nullable=False),
    json_text("original_arguments"),
    Column("fingerprint", Text, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("version", Integer, nullable=False),
    json_text("rules", nullable=False),
    Column("risk", Text, nullable=False),
    Column("votes_needed", Integer, nullable=False),
    json_text("approvers", nullable=False),
    Column("reason", Text, nullable=False),
    Column("status", Text, nullable=False),
    micros("expires_at"),
    micros("remind_at", nullable=True),
    micros("reminded_at", nullable=True),
    micros("escalate_at", nullable=True),
    micros("escalated_at", nullable=True),
    micros("decided_at", nullable=True),
    Column("decided_by", Text),
    Column("decision_reason", Text),
    micros("resumed_at", nullable=True),
    micros("created_at"),
    CheckConstraint("status IN ('pending', 'approved', 'rejected', 'expired')", name="ck_approval_status"),
    CheckConstraint("(status = 'pending') = (decided_at IS NULL)", name="ck_approval_decided"),
    # A turn that is taken over asks again; the second asking finds the first.
    Index("uq_approval_tool_call_id", "tenant_id", "tool_call_id", unique=True),
    Index("ix_approval_tenant_id_status_id", "tenant_id", "status", "id"),
    Index("ix_approval_turn_id", "turn_id"),
    Index("ix_approval_conversation_id", "conversation_id"),
    Index("ix_approval_pending", "expires_at", sqlite_where=_PENDING, postgresql_where=_PENDING),
    Index("ix_approval_unresumed", "decided_at", sqlite_where=_UNRESUMED, postgresql_where=_UNRESUMED),
)

approval_vote = Table(
    "approval_vote",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("approval_id", Text, ForeignKey("approval.id"), nullable=False),
    Column("voter", Text, nullable=False),
    Column("decision", Text, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("revision", Integer, nullable=False),
    json_text("capacity", nullable=False),
    Column("reason", Text),
    json_text("diff"),
    micros("created_at"),
    CheckConstraint("decision IN ('approve', 'reject', 'edit', 'info', 'delegate')", name="ck_approval_vote_decision"),
    # Nobody is two of the people it takes, whichever replicas take the votes.
    Index(
        "uq_approval_vote_yes",
        "approval_id",
        "revision",
        "voter",
        unique=True,
        sqlite_where=_SAYS_YES,
        postgresql_where=_SAYS_YES,
    ),
    Index("ix_approval_vote_approval_id", "approval_id", "id"),
    Index("ix_approval_vote_tenant_id_created_at", "tenant_id", "created_at"),
)

approval_delegation = Table(
    "approval_delegation",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("lender", Text, nullable=False),
    Column("delegate", Text, nullable=False),
    json_text("capacity", nullable=False),
    Column("reason", Text),
    micros("starts_at"),
    micros("ends_at"),
    micros("created_at"),
    micros("revoked_at", nullable=True),
    Column("revoked_by", Text),
    CheckConstraint("lender <> delegate", name="ck_approval_delegation_other"),
    CheckConstraint("starts_at < ends_at", name="ck_approval_delegation_period"),
    Index("ix_approval_delegation_tenant_id_delegate", "tenant_id", "delegate", "ends_at"),
)

approval_question = Table(
    "approval_question",
    metadata,
    # The id of the vote that asked: what was asked is in the record of votes too.
    Column("id", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("approval_id", Text, ForeignKey("approval.id"), nullable=False),
    Column("turn_id", Text, ForeignKey("turn.id"), nullable=False),
    Column("asked_by", Text, nullable=False),
    Column("question", Text, nullable=False),
    micros("asked_at"),
    Column("answer", Text),
    micros("answered_at", nullable=True),
    CheckConstraint("(answer IS NULL) = (answered_at IS NULL)", name="ck_approval_question_answered"),
    Index("ix_approval_question_approval_id", "approval_id", "id"),
    Index("ix_approval_question_turn_id", "turn_id", "id"),
)

# When somebody first saw an approval: deciding is measured from there.
approval_view = Table(
    "approval_view",
    metadata,
    Column("approval_id", Text, ForeignKey("approval.id"), primary_key=True),
    Column("viewer", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    micros("shown_at"),
    Index("ix_approval_view_tenant_id_viewer", "tenant_id", "viewer", "approval_id"),
)
