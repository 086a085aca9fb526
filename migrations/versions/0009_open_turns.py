"""The open turns of a conversation, found by an index that holds only them.

Revision ID: 0009
Revises: 0008
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

IS_OPEN = sa.text("status IN ('queued', 'running')")


def upgrade() -> None:
    op.drop_index("ix_turn_open", table_name="turn")
    op.create_index("ix_turn_open", "turn", ["conversation_id", "seq"], sqlite_where=IS_OPEN, postgresql_where=IS_OPEN)


def downgrade() -> None:
    op.drop_index("ix_turn_open", table_name="turn")
    op.create_index(
        "ix_turn_open", "turn", ["status", "lease_expires_at"], sqlite_where=IS_OPEN, postgresql_where=IS_OPEN
    )
