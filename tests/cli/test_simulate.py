from pathlib import Path

import pytest

from handrail.cli.simulate import lines_of
from handrail.cli.simulate_desk import RealConversations, require_made_up
from handrail.core.clock import FrozenClock
from handrail.core.principal import Principal
from handrail.db import Database
from handrail.insight.alerts import RULES
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
    fired = dict.fromkeys(set(RULES) - {"job_failed"}, 1) | {"error_rate": 2}
    lines = lines_of(Report({"turns": 12, "conversations": 5}, fired, fired | {"error_rate": 1}))
    assert lines[:3] == ["     5  conversations", "    12  turns", "alerts that fired:"]
    assert "     2  error_rate: 1 resolved" in lines
    assert "     1  latency_slo: 1 resolved" in lines
    assert lines[-2:] == ["rules that stayed quiet: job_failed", "still firing at the end: error_rate"]
