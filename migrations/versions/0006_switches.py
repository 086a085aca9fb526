"""What operators switch off; the release a turn's conversation moved from, and who wants a turn to stop.

Revision ID: 0006
Revises: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "switch",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("stops_running", sa.SmallInteger(), nullable=False),
        sa.Column("switched_by", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("released_by", sa.Text(), nullable=True),
        sa.Column("release_reason", sa.Text(), nullable=True),
        sa.Column("released_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_switch")),
    )
    op.create_index(
        "uq_switch_off",
        "switch",
        ["tenant_id", "kind", "name"],
        unique=True,
        sqlite_where=sa.text("released_at IS NULL"),
        postgresql_where=sa.text("released_at IS NULL"),
    )
    op.create_index("ix_switch_tenant_id_id", "switch", ["tenant_id", "id"], unique=False)
    op.add_column("turn", sa.Column("moved_from", sa.Text(), nullable=True))
    op.add_column("turn", sa.Column("cancel_requested_at", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    op.drop_column("turn", "cancel_requested_at")
    op.drop_column("turn", "moved_from")
    op.drop_index("ix_switch_tenant_id_id", table_name="switch")
    op.drop_index(
        "uq_switch_off",
        table_name="switch",
        sqlite_where=sa.text("released_at IS NULL"),
        postgresql_where=sa.text("released_at IS NULL"),
    )
    op.drop_table("switch")
