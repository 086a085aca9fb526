"""Rows of one table that are kept no longer: deleted a page at a time, counted by tenant."""

from collections import Counter

from sqlalchemy import Table, bindparam, delete, select
from sqlalchemy.sql.elements import ColumnElement

from handrail.db.batch import Database
from handrail.db.prepared import Prepared

PAGE = 1_000


class Expiry:
    """What of a table is over. A row that has become so stays so, or a page could delete what it did not count.

    Args:
        over: conditions that may compare with the parameter `before`, see `BEFORE`.
    """

    def __init__(self, table: Table, *over: ColumnElement[bool]) -> None:
        c = table.c
        page = select(c.id, c.tenant_id).where(*over).order_by(c.id).limit(bindparam("limit"))
        self._page = Prepared(page)
        self._delete = Prepared(delete(table).where(*over, c.id <= bindparam("last")))

    async def forget(self, db: Database, *, before: int, limit: int = PAGE) -> Counter[str]:
        """Delete the oldest; by tenant how many it were, nothing when nothing is left."""
        rows = await db.scan(self._page, {"before": before, "limit": limit})
        if rows:
            async with db.batch(long=True) as batch:
                batch.add(self._delete, {"before": before, "last": rows[-1]["id"]})
        return Counter(row["tenant_id"] for row in rows)


BEFORE = bindparam("before")
