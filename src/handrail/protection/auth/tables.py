"""API keys, as they are stored: everything but the secret."""

from sqlalchemy import Column, Index, Table, Text

from handrail.db import json_text, metadata, micros

api_key = Table(
    "api_key",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("role", Text, nullable=False),
    json_text("scopes", nullable=False),
    json_text("teams"),
    Column("prefix", Text, nullable=False, unique=True),
    Column("hash", Text, nullable=False),
    Column("note", Text),
    micros("created_at"),
    micros("expires_at", nullable=True),
    micros("revoked_at", nullable=True),
    micros("last_used_at", nullable=True),
    Index("ix_api_key_tenant_id_id", "tenant_id", "id"),
)
