"""An index of what was said, and what is to be read into it: at first every conversation that is there.

Revision ID: 0027
Revises: 0026
"""

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "search_entry",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("conversation_id", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("read_to", sa.Integer(), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.Column("indexed_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["conversation_id"], ["conversation.id"], name="fk_search_entry_conversation_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("tenant_id", "started_at", "conversation_id", name="pk_search_entry"),
        sqlite_with_rowid=False,
    )
    op.create_index("uq_search_entry_conversation_id", "search_entry", ["conversation_id"], unique=True)
    if op.get_bind().dialect.name == "postgresql":
        op.execute("CREATE INDEX ix_search_entry_words ON search_entry USING gin (string_to_array(words, ' '))")
    op.create_table(
        "search_pending",
        sa.Column("conversation_id", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
        sa.Column("changes", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("conversation_id", name="pk_search_pending"),
    )
    op.create_index("ix_search_pending_since", "search_pending", ["since"])
    op.execute(
        "INSERT INTO search_pending (conversation_id, tenant_id, since, changed_at, changes) "
        "SELECT id, tenant_id, updated_at, updated_at, 1 FROM conversation"
    )


def downgrade() -> None:
    op.drop_table("search_pending")
    op.drop_table("search_entry")
