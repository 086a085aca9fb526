"""Indexes for lists of conversations by what became of them.

Revision ID: 0021
Revises: 0020
"""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

_TABLE = "conversation_fact"
_LISTED = ["tenant_id", "started_at", "conversation_id"]
_RARE = {
    "escalated": "is_escalated = 1",
    "thumbs_down": "thumbs_down > 0",
    "tripped": "tripped > 0",
    "failed": "failed_turns > 0",
}


def upgrade() -> None:
    op.drop_index("ix_conversation_fact_tenant_id_started_at", _TABLE)
    more = ["agent", "release_id", "intent", "channel", "cost_micros", "latency_micros"]
    op.create_index("ix_conversation_fact_listed", _TABLE, [*_LISTED, *more])
    for name, rule in _RARE.items():
        where = sa.text(rule)
        op.create_index(f"ix_conversation_fact_{name}", _TABLE, _LISTED, sqlite_where=where, postgresql_where=where)


def downgrade() -> None:
    for name in ("listed", *_RARE):
        op.drop_index(f"ix_conversation_fact_{name}", _TABLE)
    op.create_index("ix_conversation_fact_tenant_id_started_at", _TABLE, ["tenant_id", "started_at"])
