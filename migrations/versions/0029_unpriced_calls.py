"""Calls on the books that have no cost are found at once when a price comes.

Revision ID: 0029
Revises: 0028
"""

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None

_NO_COST = sa.text("cost_micros IS NULL")


def upgrade() -> None:
    op.create_index(
        "ix_model_usage_unpriced",
        "model_usage",
        ["tenant_id", "release_id", "provider", "model", "id"],
        sqlite_where=_NO_COST,
        postgresql_where=_NO_COST,
    )


def downgrade() -> None:
    op.drop_index("ix_model_usage_unpriced", "model_usage")
