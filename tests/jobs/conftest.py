"""Services over a real clock: the engine waits for real."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
import structlog

from handrail.core.clock import SystemClock
from handrail.db.migrate import migrate
from handrail.db.postgres import PostgresDatabase
from handrail.db.sqlite import SqliteDatabase
from handrail.flows.services import Services
from tests.flows.world import closed, world_over


@pytest.fixture(autouse=True)
def plain_log() -> Iterator[None]:
    structlog.configure(processors=[structlog.processors.format_exc_info, structlog.processors.KeyValueRenderer()])
    yield
    structlog.reset_defaults()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def engine_url(request: pytest.FixtureRequest) -> str | None:
    """None: SQLite in the data folder. PostgreSQL is a database of the test's own: the engine makes its own schema."""
    if request.param == "sqlite":
        return None
    url = str(request.getfixturevalue("blank_postgres_url"))
    asyncio.run(migrate(url))
    return url


@pytest.fixture
async def services(engine_url: str | None, sqlite_url: str) -> AsyncIterator[Services]:
    clock = SystemClock()
    if engine_url is None:
        db = SqliteDatabase(sqlite_url.removeprefix("sqlite:///"), clock)
    else:
        db = await PostgresDatabase.connect(engine_url, clock, connections=4)
    world = await world_over(db, clock)
    yield world.services
    await closed(world)
    await db.close()
