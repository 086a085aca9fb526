"""How many turns of a conversation claim what the agent was not given; empty until a conversation is counted anew.

Revision ID: 0026
Revises: 0025
"""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("conversation_fact", sa.Column("unsupported_turns", sa.Integer(), nullable=True))


def downgrade() -> None:
    op.drop_column("conversation_fact", "unsupported_turns")
