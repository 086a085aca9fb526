"""Conversations that went to people."""

from sqlalchemy import CheckConstraint, Column, ForeignKey, Index, Table, Text

from handrail.db import json_text, metadata, micros

escalation = Table(
    "escalation",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("conversation_id", Text, ForeignKey("conversation.id"), nullable=False),
    Column("turn_id", Text, ForeignKey("turn.id"), nullable=False),
    Column("agent", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("team", Text),
    json_text("summary", nullable=False),
    Column("status", Text, nullable=False),
    micros("created_at"),
    micros("updated_at"),
    CheckConstraint("status IN ('open', 'assigned', 'resolved')", name="ck_escalation_status"),
    Index("ix_escalation_conversation_id", "conversation_id"),
    Index("ix_escalation_tenant_id_status_id", "tenant_id", "status", "id"),
)
