"""An entry of the index of what was said says what the conversation is filtered by, too.

Revision ID: 0033
Revises: 0032
"""

import sqlalchemy as sa
from alembic import op

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None

NAMES = ("agent", "release_id", "intent", "channel")
_WORDS = "string_to_array(words, ' ')"
_NAMED = ", ".join(f"'{name} ' || {name}" for name in NAMES)


def upgrade() -> None:
    given = ", ".join(f"{name} = f.{name}" for name in NAMES)
    _drop_index()
    for name in NAMES:
        op.add_column("search_entry", sa.Column(name, sa.Text(), nullable=False, server_default=""))
    op.execute(
        f"UPDATE search_entry SET {given} FROM conversation_fact AS f "  # noqa: S608 - our own names
        "WHERE f.conversation_id = search_entry.conversation_id"
    )
    _create_index(f"{_WORDS} || ARRAY[{_NAMED}]")


def downgrade() -> None:
    _drop_index()
    for name in NAMES:
        op.drop_column("search_entry", name)
    _create_index(_WORDS)


# SQLite has no such index.
def _create_index(expression: str) -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute(f"CREATE INDEX ix_search_entry_words ON search_entry USING gin (({expression}))")


def _drop_index() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP INDEX ix_search_entry_words")
