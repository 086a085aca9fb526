"""What the model calls of a turn tried that were not answered at once, and the cases of a conversation found quickly.

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("turn", sa.Column("ladder", sa.Text(), nullable=True))
    op.create_index("ix_escalation_conversation_id", "escalation", ["conversation_id"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_escalation_conversation_id", table_name="escalation")
    op.drop_column("turn", "ladder")
