"""Feedback, value events, verdicts of reviews, verified cache hits.

Revision ID: 0023
Revises: 0022
"""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

_HOLDS = sa.text("replaced_at IS NULL")


def upgrade() -> None:
    op.create_table(
        "feedback",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("conversation_id", sa.Text(), sa.ForeignKey("conversation.id"), nullable=False),
        sa.Column("turn_id", sa.Text(), sa.ForeignKey("turn.id"), nullable=True),
        sa.Column("about", sa.Text(), nullable=False),
        sa.Column("agent", sa.Text(), nullable=False),
        sa.Column("release_id", sa.Text(), nullable=False),
        sa.Column("intent", sa.Text(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("score", sa.Integer(), nullable=True),
        sa.Column("comment", sa.Text(), nullable=True),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("given_by", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("replaced_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("kind IN ('thumb', 'csat', 'nps', 'text', 'resolved')", name="ck_feedback_kind"),
        sa.CheckConstraint("source IN ('user', 'staff')", name="ck_feedback_source"),
    )
    op.create_index("ix_feedback_conversation_id", "feedback", ["conversation_id"])
    op.create_index("ix_feedback_tenant_id_id", "feedback", ["tenant_id", "id"])
    _one_holds("uq_feedback_about", "feedback", ["tenant_id", "about", "kind", "given_by"])
    op.create_table(
        "value_event",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("conversation_id", sa.Text(), sa.ForeignKey("conversation.id"), nullable=False),
        sa.Column("turn_id", sa.Text(), sa.ForeignKey("turn.id"), nullable=True),
        sa.Column("agent", sa.Text(), nullable=False),
        sa.Column("release_id", sa.Text(), nullable=False),
        sa.Column("intent", sa.Text(), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("amount_micros", sa.BigInteger(), nullable=True),
        sa.Column("currency", sa.Text(), nullable=True),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("recorded_by", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("(amount_micros IS NULL) = (currency IS NULL)", name="ck_value_event_currency"),
    )
    op.create_index("uq_value_event_key", "value_event", ["tenant_id", "conversation_id", "key"], unique=True)
    op.create_index("ix_value_event_conversation_id", "value_event", ["conversation_id"])
    _create_reviews()


def _create_reviews() -> None:
    op.create_table(
        "review_verdict",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("conversation_id", sa.Text(), sa.ForeignKey("conversation.id"), nullable=False),
        sa.Column("turn_id", sa.Text(), sa.ForeignKey("turn.id"), nullable=False),
        sa.Column("agent", sa.Text(), nullable=False),
        sa.Column("release_id", sa.Text(), nullable=False),
        sa.Column("intent", sa.Text(), nullable=True),
        sa.Column("intent_correct", sa.SmallInteger(), nullable=True),
        sa.Column("hallucination", sa.SmallInteger(), nullable=True),
        sa.Column("action_correct", sa.SmallInteger(), nullable=True),
        sa.Column("resolved", sa.SmallInteger(), nullable=True),
        sa.Column("sample", sa.Text(), nullable=False),
        sa.Column("inclusion_probability", sa.Float(), nullable=False),
        sa.Column("reviewer", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("replaced_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("sample IN ('routine', 'policy')", name="ck_review_verdict_sample"),
    )
    op.create_index("ix_review_verdict_conversation_id", "review_verdict", ["conversation_id"])
    op.create_index("ix_review_verdict_tenant_id_created_at", "review_verdict", ["tenant_id", "created_at"])
    _one_holds("uq_review_verdict_turn_id", "review_verdict", ["tenant_id", "turn_id", "reviewer"])
    op.create_table(
        "cache_verification",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("hit", sa.Text(), nullable=False),
        sa.Column("correct", sa.SmallInteger(), nullable=False),
        sa.Column("verified_by", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("replaced_at", sa.BigInteger(), nullable=True),
    )
    op.create_index("ix_cache_verification_tenant_id_created_at", "cache_verification", ["tenant_id", "created_at"])
    _one_holds("uq_cache_verification_hit", "cache_verification", ["tenant_id", "hit"])


def _one_holds(name: str, table: str, columns: list[str]) -> None:
    """What was replaced stays; of what was not there is one."""
    op.create_index(name, table, columns, unique=True, sqlite_where=_HOLDS, postgresql_where=_HOLDS)


def downgrade() -> None:
    for table in ("cache_verification", "review_verdict", "value_event", "feedback"):
        op.drop_table(table)
