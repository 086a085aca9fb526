"""What somebody with the database in their hands could do."""

from typing import Any

from sqlalchemy import delete, literal_column, text, update
from sqlalchemy.sql.expression import ClauseElement

from handrail.db import Database, Prepared
from handrail.protection.audit.tables import audit_checkpoint, audit_record

_TABLES = {"audit_record": audit_record, "audit_checkpoint": audit_checkpoint}


async def update_record(db: Database, place: int, *, anyway: bool = False, **values: Any) -> None:
    """Change columns of the record in this place; `anyway` takes the triggers away first."""
    await _do(db, update(audit_record).where(audit_record.c.seq == place).values(**values), anyway=anyway)


async def delete_record(db: Database, seq: int) -> None:
    await _do(db, delete(audit_record).where(audit_record.c.seq == seq), anyway=False)


async def delete_anyway(db: Database, table: str, where: str) -> None:
    await _do(db, delete(_TABLES[table]).where(literal_column(where)), anyway=True)


async def _do(db: Database, statement: ClauseElement, *, anyway: bool) -> None:
    async with db.batch() as batch:
        if anyway:
            for each in _WITHOUT_TRIGGERS[db.dialect]:
                batch.add(Prepared(text(each)), {})
        batch.add(Prepared(statement), {})
        if anyway and db.dialect == "postgresql":
            batch.add(Prepared(text("ALTER TABLE audit_record ENABLE TRIGGER ALL")), {})


_WITHOUT_TRIGGERS = {
    "sqlite": (
        "DROP TRIGGER IF EXISTS audit_record_is_kept",
        "DROP TRIGGER IF EXISTS audit_record_is_fixed",
    ),
    "postgresql": ("ALTER TABLE audit_record DISABLE TRIGGER ALL",),
}
