"""PostgreSQL to and from the portable form: our own tables, row by row, in one transaction.

`pg_dump` is not on every machine and its dumps fit no SQLite. Rows are text, numbers and bytes: they mean the same in
both.
"""

import asyncio
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import asyncpg
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from handrail.core.errors import UsageError
from handrail.db.backup import BackupFailed, file_problems, leave_out_index, new_file, require_backup
from handrail.db.batch import StoreUnavailable
from handrail.db.migrate import migrate, migrate_sqlite, upgrade
from handrail.db.revisions import require_known

ROWS = 500
_LOST = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)


class InUse(UsageError):
    """Somebody is connected to the database that would be replaced."""

    code = "database_in_use"


async def back_up_postgres(url: str, target: Path) -> None:
    """Write a snapshot of our tables as of now; nobody is held up.

    Raises:
        WrongDatabase: it is at a revision of a newer version.
        StoreUnavailable: it can't be reached, or went away.
        BackupFailed: the disk did not take the file.
    """
    with new_file(target) as part:
        try:
            connection = await asyncpg.connect(_driver(url), timeout=10)
            try:
                async with connection.transaction(isolation="repeatable_read", readonly=True):
                    await _read_all(connection, part)
            finally:
                await connection.close(timeout=5)
        except asyncpg.PostgresError as error:
            raise StoreUnavailable(f"can't read PostgreSQL: {error}") from error
        except (TimeoutError, asyncpg.InterfaceError, ConnectionError) as error:
            raise StoreUnavailable(f"can't reach PostgreSQL: {error or type(error).__name__}") from error


async def _read_all(connection: Any, part: Path) -> None:
    revision = require_known(await _revision(connection), "the PostgreSQL database")
    await migrate(f"sqlite:///{part}", revision)
    with closing(sqlite3.connect(part, isolation_level=None)) as file:
        file.execute("BEGIN")
        for table, columns in _tables(file):
            names = ", ".join(f'"{column}"' for column in columns)
            insert = f'INSERT INTO "{table}" ({names}) VALUES ({", ".join("?" * len(columns))})'  # noqa: S608 - names of our own schema
            rows: list[Sequence[Any]] = []
            async for row in connection.cursor(f'SELECT {names} FROM "{table}"', prefetch=ROWS):  # noqa: S608
                rows.append(tuple(row))
                if len(rows) == ROWS:
                    file.executemany(insert, rows)
                    rows.clear()
            file.executemany(insert, rows)
        file.execute("COMMIT")
        leave_out_index(file)
        if problems := file_problems(file):
            raise BackupFailed(f"the copy does not hold together: {problems[0]}")


async def restore_postgres(url: str, source: Path) -> str | None:
    """Put a backup in the place of our tables, in one transaction; the schema in which the old ones lie now.

    Raises:
        InUse: a server, or anybody else, is connected.
        UsageError, WrongDatabase, BackupFailed: as for `require_backup`.
        StoreUnavailable: the database can't be reached, or did not take it; it is as it was.
    """
    revision = require_backup(source)
    engine = create_async_engine(_driver(url).replace("postgresql://", "postgresql+asyncpg://", 1))
    try:
        async with engine.begin() as connection:
            await connection.execute(text("SELECT pg_advisory_xact_lock(712046)"))
            await _require_alone(connection)
            old = await _set_aside(connection)
            await connection.run_sync(upgrade, revision)
            raw = await connection.get_raw_connection()
            await _write_all(raw.driver_connection, source)
    except (*_LOST, DBAPIError) as error:
        reason = error.orig if isinstance(error, DBAPIError) else error
        raise StoreUnavailable(f"PostgreSQL did not take the backup, and is as it was: {reason}") from error
    finally:
        await engine.dispose()
    return old


async def _require_alone(connection: AsyncConnection) -> None:
    others = await connection.scalar(
        text(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
            "AND backend_type = 'client backend'"
        )
    )
    if others:
        raise InUse(
            f"{others} other connection(s) to this database are open; stop every server and close other clients, then "
            "restore again"
        )


async def _set_aside(connection: AsyncConnection) -> str | None:
    """Move what is ours, and nothing else, to a schema that is named after the moment."""
    raw = await connection.get_raw_connection()
    revision = await _revision(raw.driver_connection)
    if revision is None:
        return None
    tables = await asyncio.to_thread(_tables_at, require_known(revision, "the PostgreSQL database"))
    schema = f"before_restore_{datetime.now(UTC):%Y%m%dt%H%M%S%f}"
    await connection.execute(text(f'CREATE SCHEMA "{schema}"'))
    for table in (*tables, "alembic_version"):
        await connection.execute(text(f'ALTER TABLE "{table}" SET SCHEMA "{schema}"'))
    # Triggers of the tables go on finding theirs.
    functions = await connection.scalars(
        text(
            "SELECT oid::regprocedure::text FROM pg_proc WHERE proname LIKE 'handrail%' "
            "AND pronamespace = current_schema()::regnamespace"
        )
    )
    for function in functions.all():
        await connection.execute(text(f'ALTER FUNCTION {function} SET SCHEMA "{schema}"'))
    return schema


def _tables_at(revision: str) -> list[str]:
    """What our migrations make up to a revision."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "schema.db"
        migrate_sqlite(f"sqlite:///{file}", revision)
        with closing(sqlite3.connect(file)) as connection:
            return [table for table, _ in _tables(connection)]


async def _write_all(connection: Any, source: Path) -> None:
    with closing(sqlite3.connect(source)) as file:
        for table, columns in _tables(file):
            names = ", ".join(f'"{column}"' for column in columns)
            read = file.execute(f'SELECT {names} FROM "{table}"')  # noqa: S608 - names of our own schema
            while rows := read.fetchmany(ROWS):
                await connection.copy_records_to_table(table, records=rows, columns=columns)


def _tables(file: sqlite3.Connection) -> Iterator[tuple[str, list[str]]]:
    """Our tables with their columns, each behind those that it refers to."""
    names = [
        str(row[0])
        for row in file.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' "
            "AND name NOT LIKE 'sqlite_%' AND name <> 'alembic_version'"
        )
    ]
    parents = {
        name: {str(row[2]) for row in file.execute(f'PRAGMA foreign_key_list("{name}")')} - {name} for name in names
    }
    done: set[str] = set()
    while len(done) < len(names):
        ready = sorted(name for name in names if name not in done and parents[name] <= done)
        assert ready, "no table refers to itself by way of others"
        for name in ready:
            done.add(name)
            yield name, [str(row[1]) for row in file.execute(f'PRAGMA table_info("{name}")')]


def _driver(url: str) -> str:
    return url.replace("postgresql+asyncpg://", "postgresql://", 1)


async def postgres_revision(url: str) -> str | None:
    """The revision of the schema; None when there is none.

    Raises:
        StoreUnavailable: the database can't be reached.
    """
    try:
        connection = await asyncpg.connect(_driver(url), timeout=10)
        try:
            return await _revision(connection)
        finally:
            await connection.close(timeout=5)
    except _LOST as error:
        raise StoreUnavailable(f"can't reach PostgreSQL: {error or type(error).__name__}") from error


async def _revision(connection: Any) -> str | None:
    known = await connection.fetchval("SELECT to_regclass('alembic_version') IS NOT NULL")
    return await connection.fetchval("SELECT version_num FROM alembic_version") if known else None
