"""A shipped rule fires for what it is meant for, is told of, and is told to be over: from the stores to a channel.

What goes wrong is written by the store or the flow that writes it in production. That every rule there is fires and is
resolved on simulated traffic is held by `tests/testing/simulation/test_run.py`.
"""

from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal

import pytest
from sqlalchemy import Table

from handrail.core.clock import FrozenClock
from handrail.core.jobs import DEPLOYMENT, Task
from handrail.core.prices import Budget
from handrail.flows import alerting
from handrail.flows.rollup import Windows, catch_up
from handrail.insight.alerts import Alert, AlertState, RecordingSender
from handrail.insight.alerts.schema import Rules
from handrail.insight.scorecard.tables import conversation_rollup, turn_rollup
from handrail.protection.audit import AuditEntry
from tests.flows.world import World

HOUR, DAY = 3_600_000_000, 86_400_000_000
LOOK_SECONDS, MOST_LOOKS = 30, 100
# What the slowest scene needs beyond what its rule asks for: a figure that is too old after five minutes.
SLACK_SECONDS = 420

Step = Callable[[World, FrozenClock], Awaitable[None]]


async def count(world: World, table: Table, grain: str, starts_at: int, **amounts: int) -> None:
    """Add to the sums of the shop, as counting does."""
    keys = {"tenant_id": "default", "grain": grain, "starts_at": starts_at, "agent": "shop"}
    names = [column.name for column in table.primary_key]
    sums = {column.name: 0 for column in table.c if column.name not in names}
    async with world.services.db.batch() as batch:
        key = tuple(keys.get(name, "") for name in names)
        world.services.facts.save(batch, [], {table.name: {key: sums | amounts}}, at=0)


async def run_a_job(world: World, clock: FrozenClock, error: str | None) -> None:
    clock.advance(1)
    task = Task(f"run_{clock.micros()}", "retention", DEPLOYMENT)
    await world.services.background.runs.start(task)
    await world.services.background.runs.end(task, report={}, error_code=error, error_message=error)


async def nobody_comes(world: World, clock: FrozenClock) -> None:
    clock.advance(9.5 * 3600)
    at = clock.micros()
    for day in range(1, 10):
        await count(world, turn_rollup, "day", at - at % DAY - day * DAY, turns=1000)
        for hour in (0, 1):
            await count(world, turn_rollup, "hour", at - at % HOUR - day * DAY - hour * HOUR, turns=80)


async def people_come(world: World, clock: FrozenClock) -> None:
    await count(world, turn_rollup, "minute", clock.micros(), turns=80, completed=80)


async def much_is_spent(world: World, clock: FrozenClock) -> None:
    world.services.budgets = (Budget(name="daily", usd=Decimal(1), period="day"),)
    await count(world, turn_rollup, "day", clock.micros(), cost_micros=850_000)


async def the_next_day_begins(_: World, clock: FrozenClock) -> None:
    clock.advance(24 * 3600)


async def too_much_is_spent_a_day(world: World, clock: FrozenClock) -> None:
    world.services.budgets = (Budget(name="monthly", usd=Decimal(100)),)
    for _ in range(9):
        await count(world, turn_rollup, "day", clock.micros(), cost_micros=5_000_000)
        clock.advance(24 * 3600)


async def the_budget_is_raised(world: World, _: FrozenClock) -> None:
    world.services.budgets = (Budget(name="monthly", usd=Decimal(300)),)


async def users_are_less_content(world: World, clock: FrozenClock) -> None:
    at = clock.micros() - clock.micros() % HOUR
    await count(world, conversation_rollup, "hour", at - 3 * DAY, thumbs_up=90, thumbs_down=10)
    await count(world, conversation_rollup, "hour", at - 2 * HOUR, thumbs_up=20, thumbs_down=20)


async def users_are_content_again(world: World, clock: FrozenClock) -> None:
    at = clock.micros() - clock.micros() % HOUR
    await count(world, conversation_rollup, "hour", at, thumbs_up=400, thumbs_down=10)


async def a_job_fails(world: World, clock: FrozenClock) -> None:
    await run_a_job(world, clock, "disk_error")


async def the_job_is_done(world: World, clock: FrozenClock) -> None:
    await run_a_job(world, clock, None)


async def nobody_seals(world: World, _: FrozenClock) -> None:
    async with world.services.db.batch() as batch:
        world.services.audit.record(batch, AuditEntry("default", "release.used", "done", "release:rel_1"))


async def somebody_seals(world: World, _: FrozenClock) -> None:
    await world.services.audit.seal()


async def traces_are_lost(world: World, _: FrozenClock) -> None:
    # The first report of a process is what its later losses are measured from.
    await alerting.watch(world.services)
    world.services.alerts.lose("line_full", 7)


async def none_is_lost_any_more(_: World, clock: FrozenClock) -> None:
    clock.advance(300)


async def nobody_counts(world: World, clock: FrozenClock) -> None:
    conversation = await world.open()
    async with world.services.db.batch() as batch:
        world.services.facts.changed(batch, "default", conversation.id, at=clock.micros())


async def somebody_counts(world: World, _: FrozenClock) -> None:
    await catch_up(world.services, Windows(world.services).of)


async def a_channel_takes_nothing(world: World, clock: FrozenClock) -> None:
    sender_of(world).failing = {"boss"}
    await run_a_job(world, clock, "disk_error")


async def the_channel_is_back(world: World, clock: FrozenClock) -> None:
    sender_of(world).failing = set()
    await run_a_job(world, clock, None)


SCENES: Mapping[str, tuple[Step, Step, str]] = {
    "traffic_drop": (nobody_comes, people_come, "0 turns in an hour, usually 80"),
    "budget_spent": (much_is_spent, the_next_day_begins, "0.85 USD of 1.00 USD is spent (85%)"),
    "budget_forecast": (too_much_is_spent_a_day, the_budget_is_raised, "of 100.00 USD will be spent"),
    "quality_drop": (users_are_less_content, users_are_content_again, "thumbs down: 50% of 40 in a day, 10% of 100"),
    "job_failed": (a_job_fails, the_job_is_done, "the newest run of job 'retention' failed: disk_error"),
    "audit_lag": (nobody_seals, somebody_seals, "s to be sealed"),
    "traces_dropped": (traces_are_lost, none_is_lost_any_more, "traces lost in five minutes: 7"),
    "insight_lag": (nobody_counts, somebody_counts, "s behind what happens"),
    "channel_failing": (
        a_channel_takes_nothing,
        the_channel_is_back,
        "to deliver failed, the oldest message waits for",
    ),
}


def sender_of(world: World) -> RecordingSender:
    sender = world.services.alerts.sender
    assert isinstance(sender, RecordingSender)
    return sender


async def alerts_of(world: World, rule: str) -> list[Alert]:
    return [each for each in await world.services.alerts.store.list(None) if each.rule == rule]


async def look_until(world: World, clock: FrozenClock, rule: str, state: AlertState) -> int:
    """Look as the keeper does until the rule's alert is in this state; how many seconds that took."""
    for looks in range(MOST_LOOKS):
        await alerting.watch(world.services)
        await alerting.send(world.services)
        if [each.state for each in await alerts_of(world, rule)] == [state]:
            return looks * LOOK_SECONDS
        clock.advance(LOOK_SECONDS)
    raise AssertionError(f"{rule} was not {state} after {MOST_LOOKS} looks: {await alerts_of(world, rule)}")


def titles(world: World) -> list[str]:
    return [each.title for channel, each in sender_of(world).sent if channel == "ops"]


@pytest.mark.parametrize("rule", SCENES)
async def test_a_rule_fires_with_its_numbers_and_is_resolved_when_it_is_well_again(
    world: World, clock: FrozenClock, rule: str
) -> None:
    (goes_wrong, is_mended, said), times = SCENES[rule], Rules().named(rule)
    assert times is not None
    await world.services.audit.seal()
    await goes_wrong(world, clock)
    took = await look_until(world, clock, rule, AlertState.FIRING)
    assert times.for_seconds <= took <= times.for_seconds + SLACK_SECONDS
    (alert,) = await alerts_of(world, rule)
    assert said in alert.said
    name = rule.replace("_", " ")
    assert [each for each in titles(world) if each.startswith(f"[{times.severity}] {name}")] != []
    await is_mended(world, clock)
    took = await look_until(world, clock, rule, AlertState.RESOLVED)
    assert times.clear_seconds <= took <= times.clear_seconds + SLACK_SECONDS
    assert [each for each in titles(world) if each.startswith(f"Resolved: {name}")] != []


async def test_no_rule_fires_where_nothing_is_wrong(world: World, clock: FrozenClock) -> None:
    await world.services.audit.seal()
    for _ in range(MOST_LOOKS):
        await alerting.watch(world.services)
        clock.advance(LOOK_SECONDS)
    assert await world.services.alerts.store.list(None) == []
