"""What the background engine is asked to do, what it did, and which processes it lives in."""

from sqlalchemy import CheckConstraint, Column, Index, Integer, Table, Text, text

from handrail.db.metadata import json_text, metadata, micros

_WAITING = text("sent_at IS NULL")

outbox = Table(
    "outbox",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("job", Text, nullable=False),
    json_text("arguments", nullable=False),
    micros("created_at"),
    micros("sent_at", nullable=True),
    Index("ix_outbox_waiting", "id", sqlite_where=_WAITING, postgresql_where=_WAITING),
)

job_run = Table(
    "job_run",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("job", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("requested_by", Text),
    Column("attempts", Integer, nullable=False),
    json_text("report"),
    Column("error_code", Text),
    Column("error_message", Text),
    micros("created_at"),
    micros("started_at", nullable=True),
    micros("ended_at", nullable=True),
    CheckConstraint("status IN ('waiting', 'running', 'completed', 'failed')", name="ck_job_run_status"),
    Index("ix_job_run_job_created_at", "job", "created_at"),
)

# Of the deployment, not of a tenant: who may be asked whether it lives.
executor = Table(
    "executor",
    metadata,
    Column("id", Text, primary_key=True),
    Column("protocol", Text, nullable=False),
    micros("beat_at"),
)
