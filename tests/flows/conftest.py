"""The world of the flow tests: on SQLite, and on both databases where the database decides."""

from collections.abc import AsyncIterator, Iterator

import pytest
import structlog

from handrail.core.clock import FrozenClock
from handrail.db import Database
from tests.flows.desk import Desk, desk
from tests.flows.world import World, closed, world_over


@pytest.fixture(autouse=True)
def plain_log() -> Iterator[None]:
    """Without the coloured tracebacks of an unconfigured log, which take seconds."""
    structlog.configure(processors=[structlog.processors.format_exc_info, structlog.processors.KeyValueRenderer()])
    yield
    structlog.reset_defaults()


@pytest.fixture(name="desk")
def clear_desk() -> Desk:
    """Where the tools do their work, empty."""
    desk.clear()
    return desk


@pytest.fixture
async def world(sqlite_db: Database, clock: FrozenClock, desk: Desk) -> AsyncIterator[World]:
    made = await world_over(sqlite_db, clock)
    yield made
    await closed(made)


@pytest.fixture
async def any_world(db: Database, clock: FrozenClock, desk: Desk) -> AsyncIterator[World]:
    """The same on both databases."""
    made = await world_over(db, clock)
    yield made
    await closed(made)
