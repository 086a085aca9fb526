"""Alerts, what silences them, who was told, and what each process sees that no table says."""

from sqlalchemy import CheckConstraint, Column, Index, Integer, Table, Text, text

from handrail.db import json_text, metadata, micros

_OPEN = text("state <> 'resolved'")
_WAITING = text("status = 'waiting'")

alert = Table(
    "alert",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("rule", Text, nullable=False),
    Column("severity", Text, nullable=False),
    json_text("labels", nullable=False),
    Column("state", Text, nullable=False),
    Column("said", Text, nullable=False),
    json_text("numbers", nullable=False),
    micros("started_at"),
    micros("fired_at", nullable=True),
    micros("ok_since", nullable=True),
    micros("resolved_at", nullable=True),
    Column("flaps", Integer, nullable=False),
    json_text("told", nullable=False),
    micros("told_at", nullable=True),
    micros("escalated_at", nullable=True),
    Column("notices", Integer, nullable=False),
    micros("acknowledged_at", nullable=True),
    Column("acknowledged_by", Text),
    Column("note", Text),
    Column("version", Integer, nullable=False),
    CheckConstraint("state IN ('pending', 'firing', 'resolved')", name="ck_alert_state"),
    Index("uq_alert_open", "fingerprint", unique=True, sqlite_where=_OPEN, postgresql_where=_OPEN),
    Index("ix_alert_tenant_id_id", "tenant_id", "id"),
    Index("ix_alert_resolved_at", "resolved_at"),
)

alert_silence = Table(
    "alert_silence",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    json_text("matchers", nullable=False),
    micros("starts_at"),
    micros("ends_at"),
    Column("reason", Text, nullable=False),
    Column("created_by", Text, nullable=False),
    micros("created_at"),
    micros("ended_at", nullable=True),
    Column("ended_by", Text),
    Index("ix_alert_silence_ends_at", "ends_at"),
)

# The outbox of messages: written with what they say, sent afterwards, kept as the record of who was told what.
alert_notice = Table(
    "alert_notice",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("alert_ids", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    micros("next_at"),
    micros("created_at"),
    micros("sent_at", nullable=True),
    Column("error", Text),
    CheckConstraint("status IN ('waiting', 'sent', 'given_up')", name="ck_alert_notice_status"),
    Index("ix_alert_notice_waiting", "next_at", sqlite_where=_WAITING, postgresql_where=_WAITING),
    Index("ix_alert_notice_created_at", "created_at"),
)

# One row: who looks at the rules and sends. `epoch` counts the owners, so that a former one is told from the present.
alert_lease = Table(
    "alert_lease",
    metadata,
    Column("name", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("epoch", Integer, nullable=False),
    micros("expires_at"),
)

# One row a process: breakers that are open there, parts that do not answer, what was lost.
alert_report = Table(
    "alert_report",
    metadata,
    Column("owner", Text, primary_key=True),
    json_text("body", nullable=False),
    micros("reported_at"),
)

# What each rule said last, for those who ask why nothing fires.
alert_rule_state = Table(
    "alert_rule_state",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("rule", Text, primary_key=True),
    Column("state", Text, nullable=False),
    Column("said", Text, nullable=False),
    micros("changed_at"),
)
