"""Traces of turns, and the trace in which a turn began.

Revision ID: 0022
Revises: 0021
"""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("turn", sa.Column("trace_id", sa.Text(), nullable=True))
    op.create_table(
        "trace",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("trace_id", sa.Text(), nullable=False),
        sa.Column("conversation_id", sa.Text(), nullable=False),
        sa.Column("turn_id", sa.Text(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("agent", sa.Text(), nullable=False),
        sa.Column("release_id", sa.Text(), nullable=False),
        sa.Column("intent", sa.Text(), nullable=True),
        sa.Column("variant", sa.Text(), nullable=True),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("latency_class", sa.Text(), nullable=True),
        sa.Column("instructions_hash", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("duration_micros", sa.BigInteger(), nullable=False),
        sa.Column("overhead_micros", sa.BigInteger(), nullable=False),
        sa.Column("cost_micros", sa.BigInteger(), nullable=True),
        sa.Column("parent_id", sa.Text(), nullable=True),
        sa.Column("link", sa.Text(), nullable=True),
        sa.Column("spans", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["conversation_id"], ["conversation.id"], name="fk_trace_conversation_id"),
        sa.PrimaryKeyConstraint("id", name="pk_trace"),
    )
    for name, columns in (
        ("ix_trace_trace_id", ["trace_id"]),
        ("ix_trace_turn_id", ["turn_id"]),
        ("ix_trace_conversation_id", ["conversation_id", "started_at"]),
        ("ix_trace_tenant_id_started_at", ["tenant_id", "started_at"]),
    ):
        op.create_index(name, "trace", columns)


def downgrade() -> None:
    op.drop_table("trace")
    op.drop_column("turn", "trace_id")
