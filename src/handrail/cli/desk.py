"""Where a command does its work: at the server that holds the data folder, else at the database itself."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import TypeVar

from handrail.bootstrap import audit_trail
from handrail.cli.local_server import LocalServer, held_by
from handrail.core.clock import Clock, SystemClock
from handrail.db import Database
from handrail.db.open import open_database
from handrail.protection.audit import AuditTrail
from handrail.settings import Settings, read_settings

D = TypeVar("D")
T = TypeVar("T")
Opened = Callable[[Settings], AbstractAsyncContextManager[D]]


@asynccontextmanager
async def desk_at(
    settings: Settings, there: Callable[[LocalServer], D], here: Opened[D], *, makes: bool = False
) -> AsyncGenerator[D]:
    """`there` asks the running server that holds the folder; where none does, `here` opens what the folder holds.

    Args:
        makes: whether the command may begin a new data folder.

    Raises:
        NoData: there is nothing in the folder.
        AlreadyServed: a process holds the folder and does not say where it listens.
    """
    async with held_by(settings, makes=makes) as server:
        if server is not None:
            yield there(server)
            return
        async with here(settings) as desk:
            yield desk


@asynccontextmanager
async def own_database(settings: Settings) -> AsyncGenerator[tuple[Database, Clock, AuditTrail]]:
    """The database without the services around it; what was audited is kept before it closes."""
    clock = SystemClock()
    db = await open_database(settings.url, clock)
    try:
        audit = audit_trail(settings, db, clock)
        yield db, clock, audit
        await audit.flush()
    finally:
        await db.close()


def ask(opened: Opened[D], question: Callable[[D], Awaitable[T]], data_dir: Path | None, database_url: str | None) -> T:
    """The answer of the desk that `opened` opens for these options."""
    settings = read_settings(data_dir=data_dir, database_url=database_url)

    async def answer() -> T:
        async with opened(settings) as desk:
            return await question(desk)

    return asyncio.run(answer())
