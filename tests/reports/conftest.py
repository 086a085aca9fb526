"""Reports read what turns have written: the world of the flow tests, on both databases."""

from collections.abc import AsyncIterator

import pytest

from handrail.core.clock import FrozenClock
from handrail.db import Database
from tests.flows.desk import Desk, desk
from tests.flows.world import World, closed, world_over


@pytest.fixture(name="desk")
def clear_desk() -> Desk:
    """Where the tools do their work, empty."""
    desk.clear()
    return desk


@pytest.fixture
async def any_world(db: Database, clock: FrozenClock, desk: Desk) -> AsyncIterator[World]:
    made = await world_over(db, clock)
    yield made
    await closed(made)
