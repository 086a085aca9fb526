"""The guardrails that a turn's message or a tool's result tripped.

Revision ID: 0011
Revises: 0010
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("turn", sa.Column("tripped", sa.Text(), nullable=True))
    op.add_column("tool_call", sa.Column("tripped", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("tool_call", "tripped")
    op.drop_column("turn", "tripped")
