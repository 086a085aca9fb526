"""What stands in the database around an approval."""

from sqlalchemy import insert

import handrail.serving.conversations.tables  # noqa: F401 - declares what approvals refer to
from handrail.db import Database, Prepared, metadata


async def prepare(db: Database) -> None:
    """A conversation with a turn for each of two tenants."""
    conversation, turn = metadata.tables["conversation"], metadata.tables["turn"]
    async with db.batch() as batch:
        for number, tenant in ((1, "acme"), (2, "other")):
            batch.add(
                Prepared(
                    insert(conversation).values(
                        id=f"conv_{number}", tenant_id=tenant, subject="rita", agent="shop", release_id="rel_1",
                        channel="api", turn_count=1, failures=0, created_at=0, updated_at=0,
                    )
                ),
                {},
            )  # fmt: skip
            batch.add(
                Prepared(
                    insert(turn).values(
                        id=f"turn_{number}", tenant_id=tenant, conversation_id=f"conv_{number}", seq=1,
                        status="requires_action", agent="shop", release_id="rel_1", epoch=1, event_seq=0, created_at=0,
                    )
                ),
                {},
            )  # fmt: skip
