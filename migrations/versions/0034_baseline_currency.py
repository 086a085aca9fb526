"""A baseline says what its money is in.

Revision ID: 0034
Revises: 0033
"""

import sqlalchemy as sa
from alembic import op

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("scorecard_baseline", sa.Column("currency", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("scorecard_baseline", "currency")
