"""The log, its checkpoints, and the public keys that signed them. Triggers of the schema refuse to change a record."""

from sqlalchemy import BigInteger, Column, Index, Table, Text, text

from handrail.db import metadata, micros

# No foreign keys: a record outlives what it is about.
audit_record = Table(
    "audit_record",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    micros("at"),
    Column("action", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("seq", BigInteger),
    Column("leaf", Text),
    Index("ix_audit_record_tenant_id_id", "tenant_id", "id"),
    Index("ix_audit_record_tenant_id_target", "tenant_id", "target"),
    Index("uq_audit_record_seq", "seq", unique=True),
    Index("ix_audit_record_unsealed", "id", sqlite_where=text("seq IS NULL"), postgresql_where=text("seq IS NULL")),
)

audit_checkpoint = Table(
    "audit_checkpoint",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("size", BigInteger, nullable=False),
    Column("root", Text, nullable=False),
    Column("previous", Text, nullable=False),
    micros("at"),
    Column("key_id", Text, nullable=False),
    Column("signature", Text, nullable=False),
    Column("frontier", Text, nullable=False),
    Index("ix_audit_checkpoint_size", "size"),
)

audit_key = Table(
    "audit_key",
    metadata,
    Column("key_id", Text, primary_key=True),
    Column("public", Text, nullable=False),
    micros("first_used_at"),
)
