"""A number of a report and the list behind it are of the same time."""

import pytest

from handrail.console.pages import conversations as listed
from handrail.core.clock import FrozenClock
from handrail.core.errors import UsageError
from handrail.flows import dashboard
from handrail.flows.ranges import HOUR, RANGES, begun
from handrail.flows.rollup import Windows, catch_up
from handrail.reports.conversations import totals
from tests.flows.world import World


@pytest.mark.parametrize("name", RANGES)
def test_a_range_begins_with_the_hour_in_which_it_began(name: str) -> None:
    for now in (400 * 24 * HOUR, 400 * 24 * HOUR + 1, 400 * 24 * HOUR + HOUR - 1):
        assert begun(name, now) == 400 * 24 * HOUR - RANGES[name]


def test_an_unknown_one_is_told_with_those_that_there_are() -> None:
    with pytest.raises(UsageError, match="range 'bad' is not known; use one of 24h, 7d, 28d, 90d"):
        begun("bad", 0)


@pytest.mark.parametrize("minutes", [5, 25, 45, 65])
async def test_the_closed_tile_counts_what_its_list_shows(any_world: World, clock: FrozenClock, minutes: int) -> None:
    """Two began in the hour in which the range begins, one in the hour before."""
    services = any_world.services
    clock.advance(-(clock.micros() // 1_000_000) % 3600 - 600 + 3600)
    for wait in (0, 20 * 60, 20 * 60):
        clock.advance(wait)
        await any_world.say(await any_world.open(), "hello")
    clock.advance(RANGES["7d"] / 1e6 - 30 * 60 + minutes * 60)
    await catch_up(services, Windows(services).of)
    given, now = {"range": "7d", "outcome": "closed"}, clock.micros()
    body = await dashboard.dashboard_body(services, dashboard.filters_of("default", now, given))
    found = await totals(services.db, listed.filters_of("default", now, given))
    assert body["closed"] == found.conversations
    assert body["closed"] == (2 if minutes < 60 else 0)
