from pathlib import Path

import pytest

from handrail.cli.simulate import lines_of
from handrail.cli.simulate_desk import RealConversations, require_made_up
from handrail.core.clock import FrozenClock
from handrail.core.principal import Principal
from handrail.db import Database
from handrail.testing.simulation import Report
from tests.flows.world import closed, world_over


async def test_a_folder_with_real_conversations_is_left_alone(sqlite_db: Database, clock: FrozenClock) -> None:
    world = await world_over(sqlite_db, clock)
    await world.open(Principal("default", "sim-customer-001"))
    await require_made_up(world.services, Path("data"))
    await world.open(Principal("default", "ana"))
    with pytest.raises(RealConversations, match="'data' holds conversations of 1 real users"):
        await require_made_up(world.services, Path("data"))
    await closed(world)


def test_says_what_happened_and_what_fired() -> None:
    assert lines_of(Report({"turns": 12, "conversations": 5}, {"error_rate": 2}, 1)) == [
        "     5  conversations",
        "    12  turns",
        "alerts that fired: error_rate (2); 1 not resolved yet",
    ]
