"""Alembic, run from inside: one history for both databases, applied at start."""

import asyncio
import contextlib
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import handrail
from handrail.db.batch import StoreUnavailable, WrongDatabase


def migrations_folder() -> Path:
    """Inside an installed wheel, or at the root of a checkout."""
    package = Path(handrail.__file__).parent
    shipped = package / "_migrations"
    return shipped if shipped.exists() else package.parent.parent / "migrations"


def newest_revision() -> str:
    """The revision that this version works with. Read from the files' names: Alembic takes longer to import than a
    database takes to open."""
    return max(path.name.partition("_")[0] for path in (migrations_folder() / "versions").glob("[0-9]*_*.py"))


async def migrate_apart(url: str) -> None:
    """`migrate` in a process that ends with it: Alembic would stay in a server's memory, 8 MB for a second's work.

    What goes wrong there is left to `migrate`, which finds it too and says it.
    """
    if await _revision(url) != newest_revision():
        program = "import asyncio, sys; from handrail.db.migrate import migrate; asyncio.run(migrate(sys.stdin.read()))"
        command = [sys.executable, "-P", "-c", program]
        # The address may hold a password, and everybody sees a command's arguments.
        await asyncio.to_thread(subprocess.run, command, input=url.encode(), capture_output=True, check=False)


async def _revision(url: str) -> str | None:
    if url.startswith("sqlite:"):
        return await asyncio.to_thread(_sqlite_revision, url)
    return await _postgres_revision(url)


async def migrate(url: str, revision: str = "head") -> None:
    """Bring the database at `url` to `revision`, all of it or nothing; whoever else opens it meanwhile waits.

    Raises:
        WrongDatabase: its revision is not one of ours (written by a newer version, or not by Handrail).
        StoreUnavailable: it can't be reached.
    """
    if url.startswith("sqlite:"):
        await asyncio.to_thread(migrate_sqlite, url, revision)
    elif revision != "head" or await _postgres_revision(url) != newest_revision():
        await _migrate_postgres(url, revision)


def _sqlite_revision(url: str) -> str | None:
    """None when it can't be told: then the migration finds out, and says why."""
    try:
        with contextlib.closing(sqlite3.connect(url.removeprefix("sqlite:///"), timeout=30.0)) as connection:
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.Error:
        return None
    return row[0] if row else None


async def _postgres_revision(url: str) -> str | None:
    """None when it can't be told: then the migration finds out, and says why."""
    import asyncpg  # 40 ms: only who needs it pays

    try:
        connection = await asyncpg.connect(url.replace("postgresql+asyncpg://", "postgresql://", 1), timeout=10)
        try:
            return await connection.fetchval("SELECT version_num FROM alembic_version")
        finally:
            await connection.close()
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return None


def migrate_sqlite(url: str, revision: str) -> None:
    """`migrate` for who is in a thread already."""
    if revision == "head" and _sqlite_revision(url) == newest_revision():
        return
    from sqlalchemy import create_engine, event
    from sqlalchemy.exc import DatabaseError, OperationalError

    engine = create_engine(url, connect_args={"timeout": 30.0})

    @event.listens_for(engine, "connect")
    def leave_transactions_to_us(connection: Any, _record: Any) -> None:
        # By itself the driver commits before each CREATE: a process that is killed there would leave half a schema.
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def lock(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    try:
        with engine.begin() as connection:
            upgrade(connection, revision)
    except OperationalError as error:
        raise StoreUnavailable(f"can't open the database {url!r}: {error.orig}") from error
    except DatabaseError as error:
        raise WrongDatabase(f"can't use the database {url!r} ({error.orig}); name another file") from error
    finally:
        engine.dispose()


async def _migrate_postgres(url: str, revision: str) -> None:
    from sqlalchemy import text
    from sqlalchemy.exc import DBAPIError
    from sqlalchemy.ext.asyncio import create_async_engine

    engine = create_async_engine(url.replace("postgresql://", "postgresql+asyncpg://", 1))
    try:
        async with engine.begin() as connection:
            # Replicas start together: one migrates, the others wait and find nothing left to do.
            await connection.execute(text("SELECT pg_advisory_xact_lock(712046)"))
            await connection.run_sync(lambda sync: upgrade(sync, revision))
    except (OSError, DBAPIError) as error:
        reason = error.orig if isinstance(error, DBAPIError) else error
        raise StoreUnavailable(f"can't reach PostgreSQL, or not use it: {reason}") from error
    finally:
        await engine.dispose()


def upgrade(connection: Any, revision: str = "head") -> None:
    """On a connection with a transaction of the caller's; raises `WrongDatabase`."""
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory

    script = ScriptDirectory(str(migrations_folder()))
    context = MigrationContext.configure(connection)
    current = context.get_current_revision()
    if current is not None and current == script.get_current_head() and revision == "head":
        return
    if current is not None and current not in {each.revision for each in script.walk_revisions()}:
        raise WrongDatabase(
            f"the database is at revision {current!r}, which this version does not know; "
            "start the version that wrote it, or a newer one"
        )
    _run(connection, script, revision)


def _run(connection: Any, script: Any, revision: str) -> None:
    from alembic.config import Config
    from alembic.runtime.environment import EnvironmentContext

    def steps(rev: Any, _context: Any) -> Any:
        return script._upgrade_revs(revision, rev)  # pyright: ignore[reportPrivateUsage] - as alembic.command does

    with EnvironmentContext(Config(), script, fn=steps) as environment:
        environment.configure(connection=connection, target_metadata=None)
        environment.run_migrations()
