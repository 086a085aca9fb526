"""Whose rights a turn has, for the process that goes on with it.

Revision ID: 0015
Revises: 0014
"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("turn", sa.Column("roles", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("turn", "roles")
