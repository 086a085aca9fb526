"""Scopes and teams of who sent a turn, for conditions that are judged when another process goes on with it.

Revision ID: 0019
Revises: 0018
"""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("turn", sa.Column("scopes", sa.Text(), nullable=True))
    op.add_column("turn", sa.Column("teams", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("turn", "teams")
    op.drop_column("turn", "scopes")
