"""What every model call used."""

from sqlalchemy import BigInteger, Column, Index, Integer, Table, Text, text

from handrail.db import metadata, micros

_NO_COST = text("cost_micros IS NULL")

# No foreign keys: what was spent stays on the books after a conversation has been erased.
model_usage = Table(
    "model_usage",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("turn_id", Text, nullable=False),
    Column("conversation_id", Text, nullable=False),
    Column("agent", Text, nullable=False),
    Column("release_id", Text, nullable=False),
    Column("intent", Text),
    Column("provider", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("input_tokens", Integer),
    Column("output_tokens", Integer),
    Column("cached_tokens", Integer),
    Column("milliseconds", Integer, nullable=False),
    Column("finish_reason", Text, nullable=False),
    Column("cost_micros", BigInteger),
    micros("created_at"),
    Index("ix_model_usage_tenant_id_created_at", "tenant_id", "created_at"),
    Index("ix_model_usage_turn_id", "turn_id"),
    # Calls whose price may come later.
    Index(
        "ix_model_usage_unpriced", "tenant_id", "release_id", "provider", "model", "id",
        sqlite_where=_NO_COST, postgresql_where=_NO_COST,
    ),
)  # fmt: skip
