"""What the model calls of a turn cost, with the turn; and conversations that staff rated are counted anew without that.

Revision ID: 0028
Revises: 0027
"""

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None

# Unknown as soon as one call is; of a turn without calls it is 0.
_COST = """
UPDATE turn SET cost_micros = (
    SELECT CASE WHEN count(*) = count(model_usage.cost_micros) THEN coalesce(sum(model_usage.cost_micros), 0) END
    FROM model_usage WHERE model_usage.turn_id = turn.id
) WHERE ended_at IS NOT NULL
"""
_RATED_BY_STAFF = """
INSERT INTO fact_change (id, tenant_id, conversation_id, created_at)
SELECT 'staff_' || min(id), tenant_id, conversation_id, max(created_at)
FROM feedback WHERE source = 'staff' GROUP BY tenant_id, conversation_id
"""


def upgrade() -> None:
    op.add_column("turn", sa.Column("cost_micros", sa.BigInteger(), nullable=True))
    op.execute(_COST)
    op.execute(_RATED_BY_STAFF)


def downgrade() -> None:
    op.drop_column("turn", "cost_micros")
