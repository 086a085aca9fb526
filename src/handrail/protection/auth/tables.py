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
    Column("replaced_by", Text),
    Index("ix_api_key_tenant_id_id", "tenant_id", "id"),
)

# Whose session it is was decided at sign-in; a key that ends takes the sessions it began with it.
console_session = Table(
    "console_session",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("subject", Text, nullable=False),
    json_text("roles", nullable=False),
    json_text("scopes", nullable=False),
    json_text("teams", nullable=False),
    Column("key_id", Text, nullable=False),
    Column("hash", Text, nullable=False, unique=True),
    micros("created_at"),
    micros("seen_at"),
    micros("expires_at"),
    Index("ix_console_session_tenant_id_id", "tenant_id", "id"),
    Index("ix_console_session_expires_at", "expires_at"),
)

# Answers of an identity provider that signed somebody in: each does so once.
provider_visit = Table(
    "provider_visit",
    metadata,
    Column("hash", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    micros("expires_at"),
    Index("ix_provider_visit_expires_at", "expires_at"),
)

sign_in_link = Table(
    "sign_in_link",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("subject", Text, nullable=False),
    json_text("roles", nullable=False),
    Column("hash", Text, nullable=False, unique=True),
    micros("created_at"),
    micros("expires_at"),
    micros("used_at", nullable=True),
    Index("ix_sign_in_link_tenant_id_id", "tenant_id", "id"),
)
