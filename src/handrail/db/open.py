"""From a database URL to an open, migrated database."""

import os
from pathlib import Path

from handrail.core.clock import Clock
from handrail.core.errors import UsageError
from handrail.db.batch import Database
from handrail.db.guard import StoreGuard, Unguarded
from handrail.db.migrate import migrate, migrate_apart
from handrail.db.sqlite import SqliteDatabase


async def prepare_database(url: str) -> None:
    """Bring the schema up to date before a server opens it, without loading into the server what does that."""
    _make_file(url)
    await migrate_apart(url)


def _make_file(url: str) -> None:
    """What users wrote is in it: nobody else on this machine may read it. SQLite's side files follow its mode."""
    if url.startswith("sqlite:///"):
        path = Path(url.removeprefix("sqlite:///"))
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))


async def open_database(url: str, clock: Clock, *, seconds: float = 10.0, guard: StoreGuard = Unguarded) -> Database:
    """Open `sqlite:///path` or `postgresql://...`, bringing its schema up to date first.

    `seconds` and `guard` are for a database over the network: a file in this process answers or fails at once.

    Raises:
        UsageError: the URL is of no kind we know.
        WrongDatabase: it was written by a newer version.
        StoreUnavailable: it can't be reached.
    """
    if url.startswith("sqlite:///"):
        _make_file(url)
        await migrate(url)
        return SqliteDatabase(Path(url.removeprefix("sqlite:///")), clock)
    if url.startswith(("postgresql://", "postgresql+asyncpg://")):
        from handrail.db.postgres import PostgresDatabase  # asyncpg costs 40 ms: only who needs it pays

        await migrate(url)
        return await PostgresDatabase.connect(url, clock, seconds=seconds, guard=guard)
    raise UsageError(f"database_url {url!r} is not known; use sqlite:///FILE or postgresql://USER@HOST/NAME")
