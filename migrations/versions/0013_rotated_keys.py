"""Keys that were rotated: which one took their place.

Revision ID: 0013
Revises: 0012
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("api_key", sa.Column("replaced_by", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("api_key", "replaced_by")
