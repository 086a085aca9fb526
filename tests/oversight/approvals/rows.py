"""What stands in the database around an approval."""

from sqlalchemy import insert, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

import handrail.serving.conversations.tables  # noqa: F401 - declares what approvals refer to
from handrail.db import Database, Prepared, metadata
from handrail.oversight.approvals.tables import approval, approval_vote


async def prepare(db: Database) -> None:
    """The tables, where no migration has made them yet, and a conversation with a turn for each of two tenants."""
    dialect = sqlite.dialect() if db.dialect == "sqlite" else postgresql.dialect()
    async with db.batch() as batch:
        for table in (approval, approval_vote):
            batch.add(Prepared(text(str(CreateTable(table, if_not_exists=True).compile(dialect=dialect)))), {})
            for index in sorted(table.indexes, key=lambda each: str(each.name)):
                batch.add(Prepared(text(str(CreateIndex(index, if_not_exists=True).compile(dialect=dialect)))), {})
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
