"""What operators switched off, and when they switched it on again: nothing is deleted."""

from sqlalchemy import Column, Index, Table, Text, text

from handrail.db import boolean, metadata, micros

switch = Table(
    "switch",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("reason", Text, nullable=False),
    boolean("stops_running"),
    Column("switched_by", Text, nullable=False),
    micros("created_at"),
    Column("released_by", Text),
    Column("release_reason", Text),
    micros("released_at", nullable=True),
    # A thing is off or it is not, whoever says so twice; and the few that are off are what every process reads.
    Index(
        "uq_switch_off",
        "tenant_id",
        "kind",
        "name",
        unique=True,
        sqlite_where=text("released_at IS NULL"),
        postgresql_where=text("released_at IS NULL"),
    ),
    Index("ix_switch_tenant_id_id", "tenant_id", "id"),
)
