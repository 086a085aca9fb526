"""The key store's tables: a database of their own, never in the history of the main one nor in its backups."""

from dataclasses import dataclass

from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, PrimaryKeyConstraint, Table, Text, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.schema import CreateIndex, CreateSchema, CreateTable
from sqlalchemy.sql.schema import SchemaConst

from handrail.db import Prepared, metadata

POSTGRES_SCHEMA = "handrail_keys"
_metadata = MetaData()

# In the main database: which erasures it has carried out. Who they were of, only the key store's secret tells.
erasure = Table(
    "erasure",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("owner", Text, primary_key=True),
    Column("erased_at", BigInteger, primary_key=True, autoincrement=False),
)

# One row a version; the newest of a subject that is not retired seals, the others still open.
_data_key = Table(
    "data_key",
    _metadata,
    Column("id", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("tenant_id", Text, nullable=False),
    # The subject as a keyed HMAC: who a key was for is no secret while it lives, and nobody's business afterwards.
    Column("owner", Text, nullable=False),
    Column("master_id", Text, nullable=False),
    Column("wrapped", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("retired_at", BigInteger),
    PrimaryKeyConstraint("id", "version"),
    Index(
        "uq_data_key_active",
        "tenant_id",
        "owner",
        unique=True,
        sqlite_where=text("retired_at IS NULL"),
        postgresql_where=text("retired_at IS NULL"),
    ),
)
# Who was erased, and when: what a restored backup still holds of them is erased again before anybody reads it.
_erasure = Table(
    "erasure",
    _metadata,
    Column("tenant_id", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("erased_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("tenant_id", "owner", "erased_at"),
)
# The secret of the HMACs. It makes no content readable; without it nobody can ask whether a person was here.
_secret = Table("secret", _metadata, Column("name", Text, primary_key=True), Column("value", Text, nullable=False))


@dataclass(frozen=True, slots=True)
class KeyTables:
    """The tables where they lie: in a file of their own, or in a schema of the same PostgreSQL."""

    data_key: Table
    erasure: Table
    secret: Table
    create: tuple[Prepared, ...]

    @classmethod
    def at(cls, schema: str | None) -> "KeyTables":
        own = MetaData(schema=schema)
        data_key, erasure, secret = (
            each.to_metadata(own, schema=schema or SchemaConst.RETAIN_SCHEMA) for each in (_data_key, _erasure, _secret)
        )
        dialect = postgresql.dialect() if schema else sqlite.dialect()
        made = [CreateSchema(schema, if_not_exists=True)] if schema else []
        made += [CreateTable(each, if_not_exists=True) for each in (data_key, erasure, secret)]
        made += [CreateIndex(each, if_not_exists=True) for each in data_key.indexes]
        texts = (text(str(each.compile(dialect=dialect)).replace(":", r"\:")) for each in made)
        return cls(data_key, erasure, secret, tuple(Prepared(each) for each in texts))
