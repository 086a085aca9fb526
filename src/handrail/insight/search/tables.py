"""The index, one row a conversation, and what is to be read into it."""

from sqlalchemy import Column, ForeignKey, Index, Integer, PrimaryKeyConstraint, Table, Text

from handrail.db import metadata, micros

# By what the conversation is filtered besides, as it is counted.
FILTERS = ("agent", "release_id", "intent", "channel")
# In the order in which conversations are listed, so that the newest are looked at first and side by side. The row goes
# with its conversation, whoever deletes that. `read_to` is the place of the last message in it, `key` says which key
# the words were made with.
search_entry = Table(
    "search_entry",
    metadata,
    Column("tenant_id", Text, nullable=False),
    micros("started_at"),
    Column("conversation_id", Text, ForeignKey("conversation.id", ondelete="CASCADE"), nullable=False),
    Column("key", Text, nullable=False),
    Column("read_to", Integer, nullable=False),
    Column("words", Text, nullable=False),
    micros("indexed_at"),
    *(Column(name, Text, nullable=False, server_default="") for name in FILTERS),
    PrimaryKeyConstraint("tenant_id", "started_at", "conversation_id"),
    Index("uq_search_entry_conversation_id", "conversation_id", unique=True),
    sqlite_with_rowid=False,
)
# On PostgreSQL the migration adds a GIN index over the words and the filters (`TERMS`); SQLite has none such, and looks
# through the rows.
_NAMED = ", ".join(f"'{name} ' || {name}" for name in FILTERS)
TERMS = f"(string_to_array(words, ' ') || ARRAY[{_NAMED}])"


def term(name: str, value: str) -> str:
    """A filter as it stands among the terms; the blank in it tells it from every word."""
    return f"{name} {value}"


# `changes` grows with each, so that what changes while it is read is read again.
search_pending = Table(
    "search_pending",
    metadata,
    Column("conversation_id", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    micros("since"),
    micros("changed_at"),
    Column("changes", Integer, nullable=False),
    Index("ix_search_pending_since", "since"),
)
