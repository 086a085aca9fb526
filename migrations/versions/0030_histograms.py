"""Histograms of latencies go into the sums of turns, one text a row instead of a row a bucket.

Revision ID: 0030
Revises: 0029
"""

import sqlalchemy as sa
from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None

_KEY = ["tenant_id", "grain", "starts_at", "agent", "release_id", "intent", "channel", "latency_class"]
_SAME = " AND ".join(f"l.{name} = turn_rollup.{name}" for name in _KEY)
_NAMES = ", ".join(_KEY)

# The same as `core/counts.py`.
_ADDED = """
CREATE FUNCTION handrail_added(a text, b text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce('{' || string_agg('"' || key || '":' || n, ',' ORDER BY key::int) || '}', '{}')
    FROM (
        SELECT key, sum(value::bigint) AS n
        FROM (SELECT * FROM json_each_text(a::json) UNION ALL SELECT * FROM json_each_text(b::json)) AS given
        GROUP BY key
    ) AS sums
    WHERE n <> 0
$$
"""


def upgrade() -> None:
    op.add_column("turn_rollup", sa.Column("latencies", sa.Text(), nullable=False, server_default="{}"))
    if op.get_bind().dialect.name == "postgresql":
        op.execute(_ADDED)
        packed = """string_agg('"' || l.bucket || '":' || l.turns, ',' ORDER BY l.bucket)"""
    else:
        packed = """group_concat('"' || l.bucket || '":' || l.turns, ',')"""
    # Names are those of our own schema.
    op.execute(
        f"UPDATE turn_rollup SET latencies = coalesce((SELECT '{{' || {packed} || '}}' "  # noqa: S608
        f"FROM (SELECT * FROM latency_rollup ORDER BY bucket) AS l WHERE l.turns <> 0 AND {_SAME}), '{{}}')"
    )
    op.drop_table("latency_rollup")


def downgrade() -> None:
    op.create_table(
        "latency_rollup",
        *(sa.Column(name, sa.BigInteger() if name == "starts_at" else sa.Text(), nullable=False) for name in _KEY),
        sa.Column("bucket", sa.Integer(), nullable=False),
        sa.Column("turns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(*_KEY, "bucket", name="pk_latency_rollup"),
        sqlite_with_rowid=False,
    )
    is_postgresql = op.get_bind().dialect.name == "postgresql"
    each = "json_each_text(latencies::json)" if is_postgresql else "json_each(latencies)"
    op.execute(
        f"INSERT INTO latency_rollup ({_NAMES}, bucket, turns) "  # noqa: S608
        f"SELECT {_NAMES}, CAST(h.key AS INTEGER), CAST(h.value AS BIGINT) FROM turn_rollup, {each} AS h WHERE true"
    )
    op.drop_column("turn_rollup", "latencies")
    if is_postgresql:
        op.execute("DROP FUNCTION handrail_added(text, text)")
