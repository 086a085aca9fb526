"""One row for each stretch of a turn that one process ran."""

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, Table, Text

from handrail.db import json_text, metadata, micros

trace = Table(
    "trace",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("trace_id", Text, nullable=False),
    # A trace that is written after its conversation was erased must not be: the database refuses it.
    Column("conversation_id", Text, ForeignKey("conversation.id"), nullable=False),
    Column("turn_id", Text, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("agent", Text, nullable=False),
    Column("release_id", Text, nullable=False),
    Column("intent", Text),
    Column("variant", Text),
    Column("channel", Text, nullable=False),
    Column("latency_class", Text),
    Column("instructions_hash", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("error_code", Text),
    micros("started_at"),
    Column("duration_micros", BigInteger, nullable=False),
    Column("overhead_micros", BigInteger, nullable=False),
    Column("cost_micros", BigInteger),
    Column("parent_id", Text),
    Column("link", Text),
    json_text("spans", nullable=False),
    json_text("content"),
    Index("ix_trace_trace_id", "trace_id"),
    Index("ix_trace_turn_id", "turn_id"),
    # The tenant is in it, or SQLite would walk through all traces of the tenant for the order's sake.
    Index("ix_trace_conversation_id", "conversation_id", "tenant_id", "started_at", "id"),
    Index("ix_trace_tenant_id_started_at", "tenant_id", "started_at"),
)
