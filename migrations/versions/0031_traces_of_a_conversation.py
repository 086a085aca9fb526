"""A conversation's traces are found without looking at all of the tenant's.

Revision ID: 0031
Revises: 0030
"""

from alembic import op

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_index("ix_trace_conversation_id", "trace")
    op.create_index("ix_trace_conversation_id", "trace", ["conversation_id", "tenant_id", "started_at", "id"])


def downgrade() -> None:
    op.drop_index("ix_trace_conversation_id", "trace")
    op.create_index("ix_trace_conversation_id", "trace", ["conversation_id", "started_at"])
