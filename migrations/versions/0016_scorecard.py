"""What is counted about conversations, and the sums of it; every conversation from before is counted, too.

Revision ID: 0016
Revises: 0015
"""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_BY_AGENT = ("tenant_id", "grain", "starts_at", "agent", "release_id", "intent", "channel")


def _rollup(name: str, sums: str, *more: str) -> None:
    key = (*_BY_AGENT, *more)
    kinds = {"starts_at": sa.BigInteger(), "bucket": sa.Integer()}
    op.create_table(
        name,
        *(sa.Column(each, kinds.get(each, sa.Text()), nullable=False) for each in key),
        *(sa.Column(each, sa.BigInteger(), nullable=False) for each in sums.split()),
        sa.PrimaryKeyConstraint(*key, name=f"pk_{name}"),
        sqlite_with_rowid=False,
    )


def upgrade() -> None:
    op.create_table(
        "fact_change",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("conversation_id", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_fact_change"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "conversation_fact",
        sa.Column("conversation_id", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=True),
        sa.Column("agent", sa.Text(), nullable=False),
        sa.Column("release_id", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("intent", sa.Text(), nullable=False),
        sa.Column("variant", sa.Text(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("last_at", sa.BigInteger(), nullable=False),
        sa.Column("closes_at", sa.BigInteger(), nullable=True),
        sa.Column("is_closed", sa.SmallInteger(), nullable=False),
        sa.Column("turns", sa.Integer(), nullable=False),
        sa.Column("failed_turns", sa.Integer(), nullable=False),
        sa.Column("is_completed", sa.SmallInteger(), nullable=False),
        sa.Column("is_resolved", sa.SmallInteger(), nullable=False),
        sa.Column("is_escalated", sa.SmallInteger(), nullable=False),
        sa.Column("is_recontacted", sa.SmallInteger(), nullable=False),
        sa.Column("said_resolved", sa.SmallInteger(), nullable=True),
        sa.Column("escalation_reason", sa.Text(), nullable=True),
        sa.Column("tool_calls", sa.Integer(), nullable=False),
        sa.Column("tool_failures", sa.Integer(), nullable=False),
        sa.Column("tripped", sa.Integer(), nullable=False),
        sa.Column("refused", sa.Integer(), nullable=False),
        sa.Column("side_effects", sa.Integer(), nullable=False),
        sa.Column("approvals", sa.Integer(), nullable=False),
        sa.Column("csat", sa.Integer(), nullable=True),
        sa.Column("nps", sa.Integer(), nullable=True),
        sa.Column("thumbs_up", sa.Integer(), nullable=False),
        sa.Column("thumbs_down", sa.Integer(), nullable=False),
        sa.Column("model_calls", sa.Integer(), nullable=False),
        sa.Column("input_tokens", sa.BigInteger(), nullable=False),
        sa.Column("output_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cost_micros", sa.BigInteger(), nullable=False),
        sa.Column("unpriced_calls", sa.Integer(), nullable=False),
        sa.Column("value_micros", sa.BigInteger(), nullable=False),
        sa.Column("latency_micros", sa.BigInteger(), nullable=True),
        sa.Column("contribution", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("conversation_id", name="pk_conversation_fact"),
    )
    op.create_index("ix_conversation_fact_tenant_id_started_at", "conversation_fact", ["tenant_id", "started_at"])
    op.create_index("ix_conversation_fact_tenant_id_last_at", "conversation_fact", ["tenant_id", "last_at"])
    op.create_index(
        "ix_conversation_fact_subject", "conversation_fact", ["tenant_id", "subject", "agent", "intent", "started_at"]
    )
    pending = sa.text("is_closed = 0")
    op.create_index(
        "ix_conversation_fact_closes_at",
        "conversation_fact",
        ["closes_at"],
        sqlite_where=pending,
        postgresql_where=pending,
    )
    _rollup(
        "turn_rollup",
        "turns completed failed cancelled parked handed_off clarified refused tripped overhead_micros model_calls "
        "input_tokens output_tokens cost_micros unpriced_calls tool_calls tool_failures side_effects approvals",
        "latency_class",
    )
    _rollup("latency_rollup", "turns", "latency_class", "bucket")
    _rollup(
        "conversation_rollup",
        "conversations closed completed resolved escalated recontacted closed_turns closed_cost_micros "
        "resolved_cost_micros turns cost_micros unpriced_calls value_micros csat_sum csat_count nps_promoters "
        "nps_detractors nps_count thumbs_up thumbs_down",
    )
    _rollup("reason_rollup", "count", "kind", "reason")
    op.create_table(
        "fact_folder",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_fact_folder"),
    )
    op.execute(
        "INSERT INTO fact_change (id, tenant_id, conversation_id, created_at) "
        "SELECT 'chg_' || substr(id, 6), tenant_id, id, updated_at FROM conversation WHERE turn_count > 0"
    )


def downgrade() -> None:
    for name in (
        "fact_folder",
        "reason_rollup",
        "conversation_rollup",
        "latency_rollup",
        "turn_rollup",
        "conversation_fact",
        "fact_change",
    ):
        op.drop_table(name)
