"""The one MetaData, and the few column types that every driver takes as they are.

Text, integers, floats and bytes only: no per-value conversion on the hot path. JSON is text made by `core.json`, times
are microseconds since 1970 UTC, booleans are 0 or 1.
"""

from typing import Any

from sqlalchemy import JSON, BigInteger, Column, MetaData, Select, SmallInteger, Text, bindparam, func, select
from sqlalchemy.sql.elements import ColumnElement

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def micros(name: str, *, nullable: bool = False) -> Column[int]:
    """A time: microseconds since 1970 UTC."""
    return Column(name, BigInteger, nullable=nullable)


def json_text(name: str, *, nullable: bool = True) -> Column[str]:
    """JSON as text."""
    return Column(name, Text, nullable=nullable)


def boolean(name: str, *, nullable: bool = False) -> Column[int]:
    """0 or 1."""
    return Column(name, SmallInteger, nullable=nullable)


def keys_of(name: str) -> Select[Any]:
    """The keys of a JSON object that is given as one parameter: a list of any length in a prepared statement."""
    given = func.json_each(bindparam(name, type_=JSON)).table_valued("key")
    return select(given.c.key)


def now() -> ColumnElement[int]:
    """The database's clock in microseconds; `FrozenClock` replaces it in tests on both databases."""
    function: Any = func.handrail_now(type_=BigInteger)
    return function
