"""Sums of model calls by model: conversations that called one are counted anew, those that are gone from the ledger.

Revision ID: 0032
Revises: 0031
"""

import sqlalchemy as sa
from alembic import op

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None

_KEY = ["tenant_id", "grain", "starts_at", "agent", "release_id", "intent", "channel", "provider", "model"]
_SUMS = [
    "calls", "input_tokens", "output_tokens", "cached_tokens", "cost_micros", "no_price", "no_tokens", "broken_off",
    "lost",
]  # fmt: skip
_GRAINS = {"hour": 3_600_000_000, "day": 86_400_000_000}
# Only where the ledger still has all that was counted: counted anew without it, the other sums would lose it too.
_COUNT_ANEW = """
INSERT INTO fact_change (id, tenant_id, conversation_id, created_at)
SELECT 'usage_' || f.conversation_id, f.tenant_id, f.conversation_id, f.updated_at
FROM conversation_fact AS f JOIN conversation AS c ON c.id = f.conversation_id
JOIN (SELECT conversation_id, count(*) AS calls FROM model_usage GROUP BY conversation_id) AS u
    ON u.conversation_id = f.conversation_id
WHERE f.model_calls > 0 AND u.calls >= f.model_calls
"""
# A conversation that is gone is never counted again, so what it used is taken by when its calls were made.
_OF_GONE = """
INSERT INTO usage_rollup ({key}, {sums})
SELECT u.tenant_id, '{grain}', u.created_at - u.created_at % {size}, u.agent, u.release_id, coalesce(u.intent, ''),
    f.channel, u.provider, u.model, count(*), coalesce(sum(u.input_tokens), 0), coalesce(sum(u.output_tokens), 0),
    coalesce(sum(u.cached_tokens), 0), coalesce(sum(u.cost_micros), 0),
    sum(CASE WHEN {unknown} AND {told} THEN 1 ELSE 0 END), sum(CASE WHEN {unknown} AND NOT {told} THEN 1 ELSE 0 END),
    sum(CASE WHEN u.cost_micros IS NULL AND u.finish_reason = 'broken_off' THEN 1 ELSE 0 END),
    sum(CASE WHEN u.cost_micros IS NULL AND u.finish_reason = 'lost' THEN 1 ELSE 0 END)
FROM model_usage AS u JOIN conversation_fact AS f ON f.conversation_id = u.conversation_id
WHERE NOT EXISTS (SELECT 1 FROM conversation AS c WHERE c.id = u.conversation_id)
GROUP BY u.tenant_id, u.created_at - u.created_at % {size}, u.agent, u.release_id, coalesce(u.intent, ''), f.channel,
    u.provider, u.model
"""
_UNKNOWN = "u.cost_micros IS NULL AND u.finish_reason NOT IN ('lost', 'broken_off')"
_TOLD = "(u.input_tokens IS NOT NULL AND u.output_tokens IS NOT NULL)"


def upgrade() -> None:
    op.create_table(
        "usage_rollup",
        *(sa.Column(name, sa.BigInteger() if name == "starts_at" else sa.Text(), nullable=False) for name in _KEY),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in _SUMS),
        sa.PrimaryKeyConstraint(*_KEY, name="pk_usage_rollup"),
        sqlite_with_rowid=False,
    )
    for grain, size in _GRAINS.items():
        names = {"key": ", ".join(_KEY), "sums": ", ".join(_SUMS), "grain": grain, "size": size}
        op.execute(_OF_GONE.format(**names, unknown=_UNKNOWN, told=_TOLD))
    op.execute(_COUNT_ANEW)


def downgrade() -> None:
    op.drop_table("usage_rollup")
    # What a conversation added to these sums is not theirs any more: counted anew, it would be taken off again.
    op.execute("""UPDATE conversation_fact SET contribution = replace(contribution, '"usage":', '"usage_before":')""")
