"""Delegations, questions of approvers, and when an approval was first seen by whom.

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "approval_delegation",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("lender", sa.Text(), nullable=False),
        sa.Column("delegate", sa.Text(), nullable=False),
        sa.Column("capacity", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("starts_at", sa.BigInteger(), nullable=False),
        sa.Column("ends_at", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.Column("revoked_by", sa.Text(), nullable=True),
        sa.CheckConstraint("lender <> delegate", name="ck_approval_delegation_other"),
        sa.CheckConstraint("starts_at < ends_at", name="ck_approval_delegation_period"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_approval_delegation")),
    )
    op.create_index(
        "ix_approval_delegation_tenant_id_delegate", "approval_delegation", ["tenant_id", "delegate", "ends_at"]
    )
    op.create_table(
        "approval_question",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("approval_id", sa.Text(), nullable=False),
        sa.Column("turn_id", sa.Text(), nullable=False),
        sa.Column("asked_by", sa.Text(), nullable=False),
        sa.Column("question", sa.Text(), nullable=False),
        sa.Column("asked_at", sa.BigInteger(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=True),
        sa.Column("answered_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("(answer IS NULL) = (answered_at IS NULL)", name="ck_approval_question_answered"),
        sa.ForeignKeyConstraint(["approval_id"], ["approval.id"], name=op.f("fk_approval_question_approval_id")),
        sa.ForeignKeyConstraint(["turn_id"], ["turn.id"], name=op.f("fk_approval_question_turn_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_approval_question")),
    )
    op.create_index("ix_approval_question_approval_id", "approval_question", ["approval_id", "id"])
    op.create_index("ix_approval_question_turn_id", "approval_question", ["turn_id", "id"])
    op.create_table(
        "approval_view",
        sa.Column("approval_id", sa.Text(), nullable=False),
        sa.Column("viewer", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("shown_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["approval_id"], ["approval.id"], name=op.f("fk_approval_view_approval_id")),
        sa.PrimaryKeyConstraint("approval_id", "viewer", name=op.f("pk_approval_view")),
    )
    op.create_index("ix_approval_view_tenant_id_viewer", "approval_view", ["tenant_id", "viewer", "approval_id"])


def downgrade() -> None:
    op.drop_table("approval_view")
    op.drop_table("approval_question")
    op.drop_table("approval_delegation")
