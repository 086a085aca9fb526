"""Rows that were written before there was a key, or under a key that has been retired since: sealed anew, page by page.

A value is replaced only while it is what was read, so that a turn that writes meanwhile keeps its word; and a page that
runs twice changes nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Table, bindparam, select, update

from handrail.db import Batch, Database, Prepared, Row
from handrail.db.metadata import metadata
from handrail.db.sealed import SealedTable
from handrail.protection.encryption.envelope import is_sealed, key_of
from handrail.protection.encryption.key_store import KeyStore


@dataclass(frozen=True, slots=True)
class _Statements:
    table: SealedTable
    page: Prepared
    one: Prepared
    replace: Mapping[str, Prepared]

    @classmethod
    def of(cls, sealed: SealedTable) -> "_Statements":
        table = metadata.tables[sealed.name]
        page = select(table).where(table.c.id > bindparam("after")).order_by(table.c.id).limit(bindparam("limit"))
        one = select(table).where(table.c.tenant_id == bindparam("tenant_id"), table.c.id == bindparam("id"))
        replace = {name: Prepared(_replace(table, name)) for name in sealed.columns}
        return cls(sealed, Prepared(page), Prepared(one), replace)


def _replace(table: Table, name: str) -> Any:
    return (
        update(table)
        .where(
            table.c.tenant_id == bindparam("tenant_id"),
            table.c.id == bindparam("id_"),
            table.c[name] == bindparam("seen"),
        )
        .values({name: bindparam(f"{name}_", type_=table.c[name].type)})
    )


class Resealing:
    """One pass over all content.

    Args:
        raw: the database as it is; `sealed`: the same one, as the stores use it.
    """

    def __init__(self, raw: Database, sealed: Database, tables: Sequence[SealedTable], store: KeyStore) -> None:
        self._raw = raw
        self._sealed = sealed
        self._statements = {each.name: _Statements.of(each) for each in tables}
        self._store = store

    @property
    def tables(self) -> list[str]:
        """In the order of a pass."""
        return list(self._statements)

    async def page(self, name: str, *, after: str, limit: int) -> tuple[str | None, int]:
        """Seal what the next rows of a table need; the last row's id (`None`: the table is through), and how many."""
        statements = self._statements[name]
        rows = await self._raw.scan(statements.page, {"after": after, "limit": limit})
        retired = {(each.id, each.version) for each in await self._store.retired()}
        changed = 0
        for row in rows:
            stale = [each for each in statements.table.columns if _is_stale(row[each], retired)]
            if stale and await self._seal(statements, row, stale):
                changed += 1
        return (rows[-1]["id"] if len(rows) == limit else None), changed

    async def _seal(self, statements: _Statements, row: Row, stale: Sequence[str]) -> bool:
        opened = await self._sealed.fetch_one(statements.one, {"tenant_id": row["tenant_id"], "id": row["id"]})
        if opened is None:
            return False
        key: dict[str, Any] = {"tenant_id": row["tenant_id"], "id_": row["id"]}
        key |= {name: row[name] for name in ("conversation_id", "approval_id") if name in row.keys()}  # noqa: SIM118 - a row
        async with self._sealed.batch() as batch:
            for name in stale:
                _add(batch, statements.replace[name], key, name, row[name], opened[name])
        return True

    async def finish(self, *, retired_before: int) -> int:
        """After a pass: destroy the keys under which nothing lies any more, and what the old rows left in the files."""
        gone = [each for each in await self._store.retired() if (each.retired_at or 0) <= retired_before]
        if gone:
            await self._store.destroy_retired(gone)
        await self._raw.scrub(*self._statements)
        return len(gone)


def _add(batch: Batch, statement: Prepared, key: Mapping[str, Any], name: str, seen: str, text: str) -> None:
    batch.add(statement, {**key, "seen": seen, f"{name}_": text})


def _is_stale(value: str | None, retired: set[tuple[str, int]]) -> bool:
    if value is None:
        return False
    return not is_sealed(value) or (bool(retired) and key_of(value) in retired)
