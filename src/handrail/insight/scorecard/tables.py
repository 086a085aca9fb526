"""What is counted about conversations: one row a conversation, and sums of them by time and by what they were about.

Nothing in the sums names a person. Every key is one of the deployment's own names: agents, releases, intents of a
release, channels, error codes; `''` stands for none.
"""

from collections.abc import Mapping

from sqlalchemy import BigInteger, Column, Index, Integer, PrimaryKeyConstraint, Table, Text, UniqueConstraint, text

from handrail.db import boolean, json_text, metadata, micros

# What has to be counted anew. One row is written with whatever changed; it is gone once it is counted.
fact_change = Table(
    "fact_change",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("conversation_id", Text, nullable=False),
    micros("created_at"),
    sqlite_with_rowid=False,
)

_LISTED = ("tenant_id", "started_at", "conversation_id")
# What few conversations have and people look for.
RARE: Mapping[str, str] = {
    "escalated": "is_escalated = 1",
    "thumbs_down": "thumbs_down > 0",
    "tripped": "tripped > 0",
    "failed": "failed_turns > 0",
}

# No foreign keys: what was counted stays counted after a conversation is deleted, without its subject.
conversation_fact = Table(
    "conversation_fact",
    metadata,
    Column("conversation_id", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("subject", Text),
    Column("agent", Text, nullable=False),
    Column("release_id", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("intent", Text, nullable=False),
    Column("variant", Text, nullable=False),
    micros("started_at"),
    micros("last_at"),
    micros("closes_at", nullable=True),
    boolean("is_closed"),
    Column("turns", Integer, nullable=False),
    Column("failed_turns", Integer, nullable=False),
    boolean("is_completed"),
    boolean("is_resolved"),
    boolean("is_escalated"),
    boolean("is_recontacted"),
    boolean("said_resolved", nullable=True),
    Column("escalation_reason", Text),
    Column("tool_calls", Integer, nullable=False),
    Column("tool_failures", Integer, nullable=False),
    Column("tripped", Integer, nullable=False),
    Column("refused", Integer, nullable=False),
    Column("side_effects", Integer, nullable=False),
    Column("approvals", Integer, nullable=False),
    Column("csat", Integer),
    Column("nps", Integer),
    Column("thumbs_up", Integer, nullable=False),
    Column("thumbs_down", Integer, nullable=False),
    Column("model_calls", Integer, nullable=False),
    Column("input_tokens", BigInteger, nullable=False),
    Column("output_tokens", BigInteger, nullable=False),
    Column("cost_micros", BigInteger, nullable=False),
    Column("unpriced_calls", Integer, nullable=False),
    Column("value_micros", BigInteger, nullable=False),
    Column("latency_micros", BigInteger),
    Column("unsupported_turns", Integer),
    json_text("contribution", nullable=False),
    Column("version", Integer, nullable=False),
    micros("updated_at"),
    # For lists: what they are filtered by is found in an index alone.
    Index(
        "ix_conversation_fact_listed",
        *_LISTED,
        "agent",
        "release_id",
        "intent",
        "channel",
        "cost_micros",
        "latency_micros",
    ),
    *(
        Index(f"ix_conversation_fact_{name}", *_LISTED, sqlite_where=text(rule), postgresql_where=text(rule))
        for name, rule in RARE.items()
    ),
    Index("ix_conversation_fact_tenant_id_last_at", "tenant_id", "last_at"),
    Index("ix_conversation_fact_subject", "tenant_id", "subject", "agent", "intent", *_LISTED[1:]),
    Index(
        "ix_conversation_fact_closes_at",
        "closes_at",
        sqlite_where=text("is_closed = 0"),
        postgresql_where=text("is_closed = 0"),
    ),
)

# The amounts of these tables are sums, so a change is added and what it replaces is taken off. `grain` is `minute`,
# `hour` or `day` (UTC), and `starts_at` the beginning of that time. Minutes tell no intent or channel.
_BY_AGENT = ("tenant_id", "grain", "starts_at", "agent", "release_id", "intent", "channel")


def _keys(*more: str) -> list[Column[str] | Column[int]]:
    return [micros(name) if name == "starts_at" else Column(name, Text, nullable=False) for name in (*_BY_AGENT, *more)]


def _sums(names: str) -> list[Column[int]]:
    return [Column(name, BigInteger, nullable=False) for name in names.split()]


# `latencies` is a histogram: by logarithmic bucket (`histogram.py`), how many turns fell into it. It is added to like
# the sums, by `handrail_added`.
turn_rollup = Table(
    "turn_rollup",
    metadata,
    *_keys("latency_class"),
    *_sums(
        "turns completed failed cancelled parked handed_off clarified refused tripped overhead_micros model_calls "
        "input_tokens output_tokens cost_micros unpriced_calls tool_calls tool_failures side_effects approvals"
    ),
    Column("latencies", Text, nullable=False, server_default="{}"),
    PrimaryKeyConstraint(*_BY_AGENT, "latency_class"),
    sqlite_with_rowid=False,
)

# A conversation counts in the hour in which it began.
conversation_rollup = Table(
    "conversation_rollup",
    metadata,
    *_keys(),
    *_sums(
        "conversations closed completed resolved escalated recontacted closed_turns closed_cost_micros "
        "resolved_cost_micros turns cost_micros unpriced_calls value_micros csat_sum csat_count nps_promoters "
        "nps_detractors nps_count thumbs_up thumbs_down"
    ),
    PrimaryKeyConstraint(*_BY_AGENT),
    sqlite_with_rowid=False,
)

# `kind` is `error`, `escalation`, `guardrail`, `fallback` or `denied`.
reason_rollup = Table(
    "reason_rollup",
    metadata,
    *_keys("kind", "reason"),
    *_sums("count"),
    PrimaryKeyConstraint(*_BY_AGENT, "kind", "reason"),
    sqlite_with_rowid=False,
)

# Model calls, in the hour in which their turn was sent. Those without a known cost are counted by why.
usage_rollup = Table(
    "usage_rollup",
    metadata,
    *_keys("provider", "model"),
    *_sums("calls input_tokens output_tokens cached_tokens cost_micros no_price no_tokens broken_off lost"),
    PrimaryKeyConstraint(*_BY_AGENT, "provider", "model"),
    sqlite_with_rowid=False,
)

# Which process counts, so that several do not do the same work. Counting twice is excluded without it.
fact_folder = Table(
    "fact_folder",
    metadata,
    Column("name", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    micros("expires_at"),
)

# What the measures were before. Rows are added and never changed.
scorecard_baseline = Table(
    "scorecard_baseline",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("agent", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("source", Text, nullable=False),
    Column("note", Text),
    micros("since", nullable=True),
    micros("until", nullable=True),
    Column("release_id", Text),
    json_text("measures", nullable=False),
    Column("created_by", Text, nullable=False),
    micros("created_at"),
    Column("currency", Text),
    UniqueConstraint("tenant_id", "agent", "version"),
)
