"""The API over the world of the flow tests."""

from collections.abc import AsyncIterator, Iterator

import pytest
import structlog

from handrail.core.clock import FrozenClock
from handrail.db import Database
from tests.flows.desk import Desk, desk
from tests.flows.world import World, closed, world_over
from tests.http.api import Api, api_over, served


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
async def api(world: World) -> AsyncIterator[Api]:
    """In this process: an answer is there when the whole of it is."""
    async with api_over(world) as made:
        yield made


@pytest.fixture
async def live(world: World) -> AsyncIterator[Api]:
    """Behind a real socket: for streams, sockets and other people's clients."""
    async with served(world) as made:
        yield made


@pytest.fixture
async def any_api(db: Database, clock: FrozenClock, desk: Desk) -> AsyncIterator[Api]:
    """In this process, on both databases."""
    made = await world_over(db, clock)
    async with api_over(made) as api:
        yield api
    await closed(made)


@pytest.fixture
async def any_live(db: Database, clock: FrozenClock, desk: Desk) -> AsyncIterator[Api]:
    """Behind a real socket, on both databases."""
    made = await world_over(db, clock)
    async with served(made) as api:
        yield api
    await closed(made)
