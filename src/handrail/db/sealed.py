"""A database whose content columns are sealed on the way in and opened on the way out; the stores know nothing of it.

Which columns, and under whose key, is said once, by the list that is handed in. A conversation's content is sealed for
its subject: a statement that writes content gives `conversation_id` among its parameters, or what leads there.
"""

import contextlib
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

from sqlalchemy import Column, Insert, Select, Table, Update, bindparam, select

from handrail.db.batch import Batch, Database, OpenBatch, Row
from handrail.db.metadata import metadata
from handrail.db.prepared import DialectName, Prepared

MOST_CONVERSATIONS = 16_384
# What stands in the place of content whose key is destroyed.
ERASED = "[erased]"
CONVERSATION = "conversation"


@dataclass(frozen=True, slots=True)
class SealedTable:
    """Content columns of a table.

    Attributes:
        anchor: the column that says what a row belongs to. A sealed value opens only in its own row, under its anchor.
        json: which of them hold JSON.
    """

    name: str
    columns: tuple[str, ...]
    anchor: str
    json: tuple[str, ...] = ()


class Cipher(Protocol):
    """One subject's key."""

    @property
    def tenant_id(self) -> str: ...

    def seal(self, text: str, place: str) -> str: ...
    def open(self, sealed: str, place: str) -> str: ...


class Ciphers(Protocol):
    """The keys of all subjects; `at_hand` and `opener_at_hand` give `None` when the store must be asked."""

    def at_hand(self, tenant_id: str, subject: str) -> Cipher | None: ...
    async def of(self, tenant_id: str, subject: str) -> Cipher: ...
    def opener_at_hand(self, sealed: str) -> Cipher | None: ...
    async def opener(self, sealed: str) -> Cipher | None: ...


@dataclass(frozen=True, slots=True)
class _Writes:
    """What of a statement's parameters is sealed."""

    table: SealedTable
    # A parameter, and how the place of its column begins.
    values: tuple[tuple[str, str], ...]
    row: str


@dataclass(frozen=True, slots=True)
class _Reads:
    """What of a result is opened."""

    table: SealedTable
    names: tuple[tuple[str, str], ...]


class SealedDatabase:
    """Another database with its content columns sealed.

    Args:
        mark: how sealed text begins; what does not begin so was written before there was a key.
    """

    def __init__(self, inner: Database, tables: Sequence[SealedTable], ciphers: Ciphers, mark: str) -> None:
        self.dialect: DialectName = inner.dialect
        self._inner = inner
        self._tables = {each.name: each for each in tables}
        self._ciphers = ciphers
        self._mark = mark
        self._writes: dict[Prepared, _Writes | None] = {}
        self._reads: dict[Prepared, _Reads | None] = {}
        self._subjects: OrderedDict[str, tuple[str, str]] = OrderedDict()
        self._find_subject = _subject_statements()

    def batch(self, *, long: bool = False) -> OpenBatch:
        return OpenBatch(self._commit, long=long)

    async def fetch_one(self, statement: Prepared, parameters: Mapping[str, Any]) -> Row | None:
        row = await self._inner.fetch_one(statement, parameters)
        reads = self._reads_of(statement)
        return row if row is None or reads is None else (await self._opened([row], reads))[0]

    async def fetch_all(self, statement: Prepared, parameters: Mapping[str, Any]) -> Sequence[Row]:
        rows = await self._inner.fetch_all(statement, parameters)
        reads = self._reads_of(statement)
        return rows if reads is None else await self._opened(rows, reads)

    async def scan(self, statement: Prepared, parameters: Mapping[str, Any]) -> Sequence[Row]:
        rows = await self._inner.scan(statement, parameters)
        reads = self._reads_of(statement)
        return rows if reads is None else await self._opened(rows, reads)

    async def scrub(self, *tables: str, rewrite: bool = False, log_only: bool = False) -> None:
        await self._inner.scrub(*tables, rewrite=rewrite, log_only=log_only)

    async def close(self) -> None:
        await self._inner.close()

    async def _commit(self, batch: Batch) -> None:
        async with self._inner.batch(long=batch.is_long) as sealed:
            for statement, parameters, expect in batch.statements:
                writes = self._writes_of(statement)
                given = parameters if writes is None else await self._sealed(writes, parameters)
                sealed.add(statement, given, expect=expect)

    def sealed_by(self, statement: Prepared) -> tuple[str, ...]:
        """The columns that this statement writes sealed."""
        writes = self._writes_of(statement)
        return () if writes is None else tuple(name.removesuffix("_") for name, _ in writes.values)

    async def _sealed(self, writes: _Writes, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        table = writes.table
        if table.name == CONVERSATION and "subject" in parameters:
            self._remember(parameters["id"], parameters["tenant_id"], parameters["subject"])
        values = [(name, place, parameters[name]) for name, place in writes.values if parameters.get(name) is not None]
        if not values:
            return parameters
        known = self._subjects.get(parameters.get("conversation_id", ""))
        tenant_id, subject = known or await self._subject_of(table, writes.row, parameters)
        cipher = self._ciphers.at_hand(tenant_id, subject) or await self._ciphers.of(tenant_id, subject)
        where = f"{parameters[writes.row]}\0{subject if table.name == CONVERSATION else parameters[table.anchor]}"
        sealed = dict(parameters)
        for name, place, value in values:
            sealed[name] = cipher.seal(value, place + where)
        return sealed

    async def _opened(self, rows: Sequence[Row], reads: _Reads) -> Sequence[Row]:
        if reads.table.name == CONVERSATION:
            for row in rows:
                self._remember(row["id"], row["tenant_id"], row["subject"])
        mark, anchor, ciphers = self._mark, reads.table.anchor, dict[str, Cipher | None]()
        found: list[Row] = []
        for row in rows:
            opened: dict[str, Any] | None = None
            for name, place in reads.names:
                value = row[name]
                if value is None or not value.startswith(mark):
                    continue
                # Both drivers' rows give their values in order; by name each of them searches its names again.
                opened = opened or dict(zip(row.keys(), cast(Iterable[Any], row), strict=True))
                # Sealed text names its key up to the last colon; most rows of a result name the same.
                key = value[: value.rindex(":")]
                if key not in ciphers:
                    ciphers[key] = self._ciphers.opener_at_hand(value) or await self._ciphers.opener(value)
                cipher = ciphers[key]
                if cipher is None:
                    opened[name] = _instead(reads.table, name)
                    continue
                # The tenant is the row's: a row that was moved to another tenant does not open there.
                tenant = "" if cipher.tenant_id == opened["tenant_id"] else "moved\0"
                opened[name] = cipher.open(value, f"{place}{opened['id']}\0{tenant}{opened[anchor]}")
            found.append(row if opened is None else opened)
        return found

    async def _subject_of(self, table: SealedTable, row: str, parameters: Mapping[str, Any]) -> tuple[str, str]:
        """Whose content a row is: known from the conversation, which was read or opened before, or looked up."""
        conversation_id = parameters[row] if table.name == CONVERSATION else parameters.get("conversation_id")
        known = self._subjects.get(conversation_id) if conversation_id else None
        if known is not None:
            return known
        by = CONVERSATION if conversation_id else "approval"
        sought = conversation_id or parameters["approval_id"]
        found = await self._inner.fetch_one(self._find_subject[by], {"id": sought})
        if found is None:
            # The statement refers to nothing and fails by itself; meanwhile it is sealed for nobody else.
            return parameters["tenant_id"], f"nobody:{sought}"
        self._remember(found["id"], found["tenant_id"], found["subject"])
        return found["tenant_id"], found["subject"]

    def _remember(self, conversation_id: str, tenant_id: str, subject: str) -> None:
        self._subjects[conversation_id] = (tenant_id, subject)
        if len(self._subjects) > MOST_CONVERSATIONS:
            self._subjects.popitem(last=False)

    def _writes_of(self, prepared: Prepared) -> _Writes | None:
        try:
            return self._writes[prepared]
        except KeyError:
            self._writes[prepared] = found = self._write_plan(prepared)
            return found

    def _write_plan(self, prepared: Prepared) -> _Writes | None:
        statement = prepared.statement
        if not isinstance(statement, Insert | Update) or not isinstance(statement.table, Table):
            return None
        table = self._tables.get(statement.table.name)
        if table is None:
            return None
        # By the convention of the stores: an insert's parameters have the columns' names, an update's one `_` more.
        end = "" if isinstance(statement, Insert) else "_"
        names = set(prepared.names(self.dialect))
        values = tuple((f"{each}{end}", _place(table, each)) for each in table.columns if f"{each}{end}" in names)
        row = f"id{end}"
        return _Writes(table, values, row) if row in names else None

    def _reads_of(self, prepared: Prepared) -> _Reads | None:
        try:
            return self._reads[prepared]
        except KeyError:
            self._reads[prepared] = found = self._read_plan(prepared)
            return found

    def _read_plan(self, prepared: Prepared) -> _Reads | None:
        statement = prepared.statement
        if not isinstance(statement, Select):
            return None
        found: dict[str, list[str]] = {}
        selected: set[str] = set()
        for column in statement.selected_columns:
            selected.add(column.key or "")
            for base in column.base_columns:
                table = self._tables.get(base.table.name) if isinstance(base, Column) else None
                if table is not None and base.name in table.columns:
                    found.setdefault(table.name, []).append(base.name)
        if not found:
            return None
        (name, names), *others = found.items()
        table = self._tables[name]
        missing = {"id", "tenant_id", table.anchor, *names} - selected
        if others or missing:
            raise TypeError(f"a statement reads sealed columns of {sorted(found)} without {sorted(missing)}")
        return _Reads(table, tuple((each, _place(table, each)) for each in names))


def _place(table: SealedTable, column: str) -> str:
    return f"{table.name}.{column}\0"


def _instead(table: SealedTable, name: str) -> str | None:
    """What a reader is given for what is gone: nothing where nothing may stand, else a word."""
    if metadata.tables[table.name].c[name].nullable:
        return None
    return "{}" if name in table.json else ERASED


def _subject_statements() -> Mapping[str, Prepared]:
    """How to find whose a row is, by the conversation's id or an approval's."""
    found: dict[str, Prepared] = {}
    with contextlib.suppress(KeyError):
        c = metadata.tables[CONVERSATION]
        whose = select(c.c.id, c.c.tenant_id, c.c.subject)
        found[CONVERSATION] = Prepared(whose.where(c.c.id == bindparam("id")))
        a = metadata.tables["approval"]
        found["approval"] = Prepared(whose.join(a, a.c.conversation_id == c.c.id).where(a.c.id == bindparam("id")))
    return found
