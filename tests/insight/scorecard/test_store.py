from sqlalchemy import select

from handrail.db import Conflict, Database, Prepared
from handrail.insight.scorecard import FactStore
from handrail.insight.scorecard.tables import fact_change

ALL = Prepared(select(fact_change).order_by(fact_change.c.id))


class TestChanged:
    async def test_notes_a_conversation_in_the_batch_that_changed_it(self, db: Database) -> None:
        facts = FactStore(db)
        async with db.batch() as batch:
            facts.changed(batch, "default", "conv_1", at=7)
            facts.changed(batch, "default", "conv_1", at=8)
        rows = await db.fetch_all(ALL, {})
        assert [(row["tenant_id"], row["conversation_id"], row["created_at"]) for row in rows] == [
            ("default", "conv_1", 7),
            ("default", "conv_1", 8),
        ]

    async def test_is_gone_with_the_batch_that_failed(self, db: Database) -> None:
        facts = FactStore(db)
        try:
            async with db.batch() as batch:
                facts.changed(batch, "default", "conv_1", at=7)
                batch.statements.append(batch.statements[0])
        except Conflict:
            pass
        assert await db.fetch_all(ALL, {}) == []
