"""How a tool call came to its result, when not at the first try.

Revision ID: 0007
Revises: 0006
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("tool_call", sa.Column("ladder", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("tool_call", "ladder")
