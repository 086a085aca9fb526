"""Approvals, and what a turn that waits for one needs to begin again.

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "approval",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("conversation_id", sa.Text(), nullable=False),
        sa.Column("turn_id", sa.Text(), nullable=False),
        sa.Column("tool_call_id", sa.Text(), nullable=False),
        sa.Column("agent", sa.Text(), nullable=False),
        sa.Column("release_id", sa.Text(), nullable=False),
        sa.Column("requester", sa.Text(), nullable=False),
        sa.Column("tool", sa.Text(), nullable=False),
        sa.Column("arguments", sa.Text(), nullable=False),
        sa.Column("original_arguments", sa.Text(), nullable=True),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("rules", sa.Text(), nullable=False),
        sa.Column("risk", sa.Text(), nullable=False),
        sa.Column("votes_needed", sa.Integer(), nullable=False),
        sa.Column("approvers", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("remind_at", sa.BigInteger(), nullable=True),
        sa.Column("reminded_at", sa.BigInteger(), nullable=True),
        sa.Column("escalate_at", sa.BigInteger(), nullable=True),
        sa.Column("escalated_at", sa.BigInteger(), nullable=True),
        sa.Column("decided_at", sa.BigInteger(), nullable=True),
        sa.Column("decided_by", sa.Text(), nullable=True),
        sa.Column("decision_reason", sa.Text(), nullable=True),
        sa.Column("resumed_at", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("(status = 'pending') = (decided_at IS NULL)", name="ck_approval_decided"),
        sa.CheckConstraint("status IN ('pending', 'approved', 'rejected', 'expired')", name="ck_approval_status"),
        sa.ForeignKeyConstraint(["conversation_id"], ["conversation.id"], name=op.f("fk_approval_conversation_id")),
        sa.ForeignKeyConstraint(["turn_id"], ["turn.id"], name=op.f("fk_approval_turn_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_approval")),
    )
    op.create_index("ix_approval_conversation_id", "approval", ["conversation_id"], unique=False)
    op.create_index(
        "ix_approval_pending",
        "approval",
        ["expires_at"],
        unique=False,
        sqlite_where=sa.text("status = 'pending'"),
        postgresql_where=sa.text("status = 'pending'"),
    )
    op.create_index("ix_approval_tenant_id_status_id", "approval", ["tenant_id", "status", "id"], unique=False)
    op.create_index("ix_approval_turn_id", "approval", ["turn_id"], unique=False)
    op.create_index(
        "ix_approval_unresumed",
        "approval",
        ["decided_at"],
        unique=False,
        sqlite_where=sa.text("resumed_at IS NULL AND status <> 'pending'"),
        postgresql_where=sa.text("resumed_at IS NULL AND status <> 'pending'"),
    )
    op.create_index("uq_approval_tool_call_id", "approval", ["tenant_id", "tool_call_id"], unique=True)
    op.create_table(
        "approval_vote",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("approval_id", sa.Text(), nullable=False),
        sa.Column("voter", sa.Text(), nullable=False),
        sa.Column("decision", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("capacity", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("diff", sa.Text(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "decision IN ('approve', 'reject', 'edit', 'info', 'delegate')", name="ck_approval_vote_decision"
        ),
        sa.ForeignKeyConstraint(["approval_id"], ["approval.id"], name=op.f("fk_approval_vote_approval_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_approval_vote")),
    )
    op.create_index("ix_approval_vote_approval_id", "approval_vote", ["approval_id", "id"], unique=False)
    op.create_index("ix_approval_vote_tenant_id_created_at", "approval_vote", ["tenant_id", "created_at"], unique=False)
    op.create_index(
        "uq_approval_vote_yes",
        "approval_vote",
        ["approval_id", "revision", "voter"],
        unique=True,
        sqlite_where=sa.text("decision IN ('approve', 'edit')"),
        postgresql_where=sa.text("decision IN ('approve', 'edit')"),
    )
    op.add_column("turn", sa.Column("parked", sa.Text(), nullable=True))
    # ### end Alembic commands ###


def downgrade() -> None:
    op.drop_column("turn", "parked")
    op.drop_index(
        "uq_approval_vote_yes",
        table_name="approval_vote",
        sqlite_where=sa.text("decision IN ('approve', 'edit')"),
        postgresql_where=sa.text("decision IN ('approve', 'edit')"),
    )
    op.drop_index("ix_approval_vote_tenant_id_created_at", table_name="approval_vote")
    op.drop_index("ix_approval_vote_approval_id", table_name="approval_vote")
    op.drop_table("approval_vote")
    op.drop_index("uq_approval_tool_call_id", table_name="approval")
    op.drop_index(
        "ix_approval_unresumed",
        table_name="approval",
        sqlite_where=sa.text("resumed_at IS NULL AND status <> 'pending'"),
        postgresql_where=sa.text("resumed_at IS NULL AND status <> 'pending'"),
    )
    op.drop_index("ix_approval_turn_id", table_name="approval")
    op.drop_index("ix_approval_tenant_id_status_id", table_name="approval")
    op.drop_index(
        "ix_approval_pending",
        table_name="approval",
        sqlite_where=sa.text("status = 'pending'"),
        postgresql_where=sa.text("status = 'pending'"),
    )
    op.drop_index("ix_approval_conversation_id", table_name="approval")
    op.drop_table("approval")
    # ### end Alembic commands ###
