"""Statements compiled once: SQLAlchemy writes the SQL, the driver runs it."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from sqlalchemy import Select, Table, bindparam, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Dialect
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.expression import ClauseElement

DialectName = Literal["sqlite", "postgresql"]


def _dialect(name: DialectName) -> Dialect:
    if name == "sqlite":
        return sqlite.dialect(paramstyle="qmark")
    return postgresql.asyncpg.dialect()


class Prepared:
    """A module-level statement; each dialect's SQL is made at first use and kept.

    Args:
        statement: a Core statement whose parameters are `bindparam`s (an `insert(table)` has one a column).
        columns: for an insert or update without explicit values, the columns it sets.
    """

    __slots__ = ("_columns", "_compiled", "statement")

    def __init__(self, statement: ClauseElement, columns: Sequence[str] | None = None) -> None:
        self.statement = statement
        self._columns = columns
        self._compiled: dict[str, tuple[str, tuple[str, ...], Mapping[str, Any]]] = {}

    def bind(self, dialect: DialectName, parameters: Mapping[str, Any]) -> tuple[str, list[Any]]:
        """The SQL text and the values in its order.

        Raises:
            KeyError: a parameter of the statement was not given.
        """
        entry = self._compiled.get(dialect) or self._compile(dialect)
        sql, names, constants = entry
        if constants:
            return sql, [parameters[name] if name in parameters else constants[name] for name in names]
        return sql, [parameters[name] for name in names]

    def names(self, dialect: DialectName) -> tuple[str, ...]:
        """The parameters of the SQL, in its order."""
        return (self._compiled.get(dialect) or self._compile(dialect))[1]

    def _compile(self, dialect: DialectName) -> tuple[str, tuple[str, ...], Mapping[str, Any]]:
        compiled = self.statement.compile(
            dialect=_dialect(dialect),
            column_keys=list(self._columns) if self._columns is not None else None,
            compile_kwargs={"render_postcompile": True},
        )
        assert isinstance(compiled, SQLCompiler)
        names = tuple(compiled.positiontup or ())
        # `params` and not `binds`: a constant list was expanded to one parameter an element.
        values = compiled.params
        required = {name for name, bind in compiled.binds.items() if bind.required}
        constants = {name: values[name] for name in names if name in values and name not in required}
        entry = (compiled.string, names, constants)
        self._compiled[dialect] = entry
        return entry


def scoped(table: Table, *columns: Any) -> Select[Any]:
    """The one way a query over a tenant's rows begins: `tenant_id` is a parameter that can't be left out."""
    return select(*(columns or (table,))).where(table.c.tenant_id == bindparam("tenant_id"))
