"""Answers of an identity provider that signed somebody in, so that none does twice.

Revision ID: 0025
Revises: 0024
"""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "provider_visit",
        sa.Column("hash", sa.Text(), primary_key=True),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_provider_visit_expires_at", "provider_visit", ["expires_at"])


def downgrade() -> None:
    op.drop_table("provider_visit")
