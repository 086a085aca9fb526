"""The vault: what each handle of a conversation stands for."""

from sqlalchemy import Column, ForeignKey, Index, Table, Text

from handrail.db import metadata, micros

token = Table(
    "token",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("conversation_id", Text, ForeignKey("conversation.id"), nullable=False),
    Column("handle", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("value", Text, nullable=False),
    micros("created_at"),
    Index("uq_token_conversation_id_handle", "conversation_id", "handle", unique=True),
)
