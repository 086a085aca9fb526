"""An index that gives a user's next conversation about the same thing in order.

Revision ID: 0024
Revises: 0023
"""

from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

_NAME, _TABLE = "ix_conversation_fact_subject", "conversation_fact"
_LINE = ["tenant_id", "subject", "agent", "intent", "started_at"]


def upgrade() -> None:
    op.drop_index(_NAME, _TABLE)
    op.create_index(_NAME, _TABLE, [*_LINE, "conversation_id"])


def downgrade() -> None:
    op.drop_index(_NAME, _TABLE)
    op.create_index(_NAME, _TABLE, _LINE)
