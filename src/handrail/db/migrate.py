"""Alembic, run from inside: one history for both databases, applied at start."""

import asyncio
from pathlib import Path
from typing import Any

import handrail
from handrail.db.batch import StoreUnavailable, WrongDatabase


def migrations_folder() -> Path:
    """Inside an installed wheel, or at the root of a checkout."""
    package = Path(handrail.__file__).parent
    shipped = package / "_migrations"
    return shipped if shipped.exists() else package.parent.parent / "migrations"


async def migrate(url: str, revision: str = "head") -> None:
    """Bring the database at `url` to `revision`.

    Raises:
        WrongDatabase: its revision is not one of ours (written by a newer version, or not by Handrail).
        StoreUnavailable: it can't be reached.
    """
    if url.startswith("sqlite:"):
        await asyncio.to_thread(migrate_sqlite, url, revision)
    else:
        await _migrate_postgres(url, revision)


def migrate_sqlite(url: str, revision: str) -> None:
    """`migrate` for who is in a thread already."""
    from sqlalchemy import create_engine
    from sqlalchemy.exc import DatabaseError, OperationalError

    engine = create_engine(url)
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
