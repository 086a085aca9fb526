"""What was said about conversations, by whom; what was said before stays, with the time at which it was replaced."""

from sqlalchemy import BigInteger, CheckConstraint, Column, Float, ForeignKey, Index, Integer, Table, Text, text

from handrail.db import boolean, metadata, micros

_HOLDS = text("replaced_at IS NULL")

# `about` is the turn's id, or the conversation's where it is about the whole: what one person has one word on.
feedback = Table(
    "feedback",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("conversation_id", Text, ForeignKey("conversation.id"), nullable=False),
    Column("turn_id", Text, ForeignKey("turn.id")),
    Column("about", Text, nullable=False),
    Column("agent", Text, nullable=False),
    Column("release_id", Text, nullable=False),
    Column("intent", Text),
    Column("kind", Text, nullable=False),
    Column("score", Integer),
    Column("comment", Text),
    Column("source", Text, nullable=False),
    Column("given_by", Text, nullable=False),
    micros("created_at"),
    micros("replaced_at", nullable=True),
    CheckConstraint("kind IN ('thumb', 'csat', 'nps', 'text', 'resolved')", name="ck_feedback_kind"),
    CheckConstraint("source IN ('user', 'staff')", name="ck_feedback_source"),
    Index("ix_feedback_conversation_id", "conversation_id"),
    Index("ix_feedback_tenant_id_id", "tenant_id", "id"),
    Index(
        "uq_feedback_about", "tenant_id", "about", "kind", "given_by", unique=True,
        sqlite_where=_HOLDS, postgresql_where=_HOLDS,
    ),
)  # fmt: skip

value_event = Table(
    "value_event",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("conversation_id", Text, ForeignKey("conversation.id"), nullable=False),
    Column("turn_id", Text, ForeignKey("turn.id")),
    Column("agent", Text, nullable=False),
    Column("release_id", Text, nullable=False),
    Column("intent", Text),
    Column("name", Text, nullable=False),
    Column("amount_micros", BigInteger),
    Column("currency", Text),
    Column("key", Text, nullable=False),
    Column("recorded_by", Text, nullable=False),
    micros("created_at"),
    CheckConstraint("(amount_micros IS NULL) = (currency IS NULL)", name="ck_value_event_currency"),
    Index("uq_value_event_key", "tenant_id", "conversation_id", "key", unique=True),
    Index("ix_value_event_conversation_id", "conversation_id"),
)

review_verdict = Table(
    "review_verdict",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("conversation_id", Text, ForeignKey("conversation.id"), nullable=False),
    Column("turn_id", Text, ForeignKey("turn.id"), nullable=False),
    Column("agent", Text, nullable=False),
    Column("release_id", Text, nullable=False),
    Column("intent", Text),
    boolean("intent_correct", nullable=True),
    boolean("hallucination", nullable=True),
    boolean("action_correct", nullable=True),
    boolean("resolved", nullable=True),
    Column("sample", Text, nullable=False),
    Column("inclusion_probability", Float, nullable=False),
    Column("reviewer", Text, nullable=False),
    micros("created_at"),
    micros("replaced_at", nullable=True),
    CheckConstraint("sample IN ('routine', 'policy')", name="ck_review_verdict_sample"),
    Index("ix_review_verdict_conversation_id", "conversation_id"),
    Index("ix_review_verdict_tenant_id_created_at", "tenant_id", "created_at"),
    Index(
        "uq_review_verdict_turn_id", "tenant_id", "turn_id", "reviewer", unique=True,
        sqlite_where=_HOLDS, postgresql_where=_HOLDS,
    ),
)  # fmt: skip

# `hit` is the id of a cache hit, or a hash of its text: never the text.
cache_verification = Table(
    "cache_verification",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("hit", Text, nullable=False),
    boolean("correct"),
    Column("verified_by", Text, nullable=False),
    micros("created_at"),
    micros("replaced_at", nullable=True),
    Index("ix_cache_verification_tenant_id_created_at", "tenant_id", "created_at"),
    Index(
        "uq_cache_verification_hit", "tenant_id", "hit", unique=True, sqlite_where=_HOLDS, postgresql_where=_HOLDS
    ),
)  # fmt: skip
