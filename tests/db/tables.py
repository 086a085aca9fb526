"""A table of the tests' own: the contract is about the database, not about any room."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Integer,
    MetaData,
    Table,
    Text,
    bindparam,
    delete,
    insert,
    select,
    text,
    update,
)

from handrail.db import Database, Prepared, now

thing = Table(
    "thing", MetaData(), Column("id", Integer, primary_key=True), Column("text", Text), Column("at", BigInteger)
)

CREATE = Prepared(text("CREATE TABLE thing (id INTEGER PRIMARY KEY, text TEXT, at BIGINT)"))
ADD = Prepared(insert(thing), ["id", "text"])
ADD_NOW = Prepared(insert(thing).values(id=bindparam("id"), at=now()))
REPLACE = Prepared(
    update(thing).where(thing.c.id == bindparam("key"), thing.c.text == bindparam("seen")).values(text=bindparam("new"))
)
CLEAR = Prepared(update(thing).where(thing.c.id == bindparam("key")).values(text=bindparam("nothing", None)))
REMOVE = Prepared(delete(thing).where(thing.c.id == bindparam("key")))
FIND = Prepared(select(thing).where(thing.c.id == bindparam("id")))
ALL = Prepared(select(thing.c.id, thing.c.text).order_by(thing.c.id))
NOW = Prepared(select(now().label("at")))


async def write(db: Database, *statements: tuple[Prepared, Mapping[str, Any]], expect: int | None = None) -> None:
    """One batch; `expect` is for its last statement."""
    async with db.batch() as batch:
        for statement, parameters in statements[:-1]:
            batch.add(statement, parameters)
        batch.add(*statements[-1], expect=expect)
