"""The digest says what happened with what it rests on, once, and no word of a conversation."""

from dataclasses import replace

import pytest

from handrail.core.clock import FrozenClock
from handrail.core.jobs import DEPLOYMENT, Task
from handrail.flows.digest import MOST_TENANTS_APART, digest_of, digest_page
from handrail.flows.rollup import Windows, catch_up
from handrail.insight.alerts import Places, RecordingSender
from tests.flows.desk import Desk
from tests.flows.world import World
from tests.written import FAILED, Written

DAY_SECONDS = 24 * 3600
MICROS = 1_000_000


async def talked(world: World, clock: FrozenClock) -> None:
    for _ in range(3):
        await world.say(await world.open(), "when do you open, my secret plan?")
    clock.advance(DAY_SECONDS + 60)
    await catch_up(world.services, Windows(world.services).of)


async def test_says_counts_and_no_share_of_a_few(any_world: World, clock: FrozenClock, desk: Desk) -> None:
    await talked(any_world, clock)
    now = clock.micros()
    message = await digest_of(any_world.services, "default", now - now % (DAY_SECONDS * MICROS), 7)
    assert "Conversations: 3 (0 pending; the week before: 0)" in message.body
    assert " of 3 closed" in message.body
    assert "%" not in message.body
    assert "Satisfaction: not measured yet" in message.body
    assert "secret plan" not in message.body


async def test_leads_to_the_dashboard_where_people_reach_it(any_world: World, clock: FrozenClock, desk: Desk) -> None:
    await talked(any_world, clock)
    any_world.services.alerts.places = Places("https://agents.example.com")
    now = clock.micros()
    message = await digest_of(any_world.services, "default", now - now % (DAY_SECONDS * MICROS), 1)
    assert "Dashboard: https://agents.example.com/console/dashboard?range=24h" in message.body.splitlines()


async def test_is_told_once_to_each_channel_however_often_the_page_runs(
    any_world: World, clock: FrozenClock, desk: Desk
) -> None:
    await talked(any_world, clock)
    services = any_world.services
    services.alerts.sender = RecordingSender(channels=("ops",))
    task = Task("run_1", "digest", DEPLOYMENT)
    for _ in range(2):
        done = await digest_page(services, task, {})
        assert done == {"done": True, "report": {"default": {"digests": 1}}}
    told = await services.alerts.store.newest_notices(None, limit=10)
    assert len(told) == 1


async def test_is_one_message_where_there_are_many_tenants(any_world: World, clock: FrozenClock) -> None:
    services, written = any_world.services, Written(any_world.db, clock)
    services.alerts.sender = RecordingSender(channels=("ops",))
    for number in range(MOST_TENANTS_APART + 3):
        written.tenant_id = f"tenant-{number:02}"
        for _ in range(3 if number == 22 else 1):
            await written.conversation("ana", FAILED)
    clock.advance(DAY_SECONDS)
    await catch_up(services, Windows(services).of)
    done = await digest_page(services, Task("run_1", "digest", DEPLOYMENT), {})
    assert done == {"done": True, "report": {DEPLOYMENT: {"digests": 1, "tenants": 23}}}
    (told,) = await services.alerts.store.newest_notices(None, limit=50)
    first, *lines, last = told.notice.body.splitlines()
    assert told.notice.title.startswith("Agents of 23 tenants, ")
    assert first == "tenant-22: 3 conversations, 3 of 3 turns failed"
    assert (len(lines), last) == (19, "and 3 more tenants with 3 conversations")
    assert await services.alerts.store.newest_notices("tenant-01", limit=50) == [], "no tenant is shown another's"


@pytest.mark.parametrize(("days", "weekday", "written"), [(7, 0, True), (7, 1, False), (1, 1, True), (0, 0, False)])
async def test_keeps_to_its_days(world: World, clock: FrozenClock, days: int, weekday: int, written: bool) -> None:
    while (clock.micros() // (DAY_SECONDS * MICROS) + 3 + 1) % 7 != weekday:
        clock.advance(DAY_SECONDS)
    await talked(world, clock)
    services = replace(world.services, digest_days=days)
    done = await digest_page(services, Task("due-digest-1", "digest", DEPLOYMENT), {})
    assert bool(done["report"]) == written
