"""What each text of instructions did, against turns that were really taken, on both databases."""

from dataclasses import replace

import pytest

from handrail.core.clock import FrozenClock
from handrail.flows.feedback import FeedbackWanted, give_feedback
from handrail.insight.traces import FinishedTrace, TraceStore
from handrail.reports.filters import Filters
from handrail.reports.instructions import ByInstructions, by_instructions
from tests.flows.test_feedback import RITA
from tests.flows.world import ANA, World
from tests.insight.traces.made import finished, turn_trace

HOUR = 3600 * 1_000_000


async def found(world: World, clock: FrozenClock, most: int = 100, **narrowed: str) -> ByInstructions:
    now = clock.micros()
    return await by_instructions(world.db, Filters("default", now - HOUR, now + HOUR, **narrowed), most=most)


async def keep(world: World, clock: FrozenClock, *traces: FinishedTrace) -> None:
    conversation = await world.open()
    async with world.db.batch() as batch:
        for number, each in enumerate(traces):
            at = clock.micros() + number
            TraceStore(world.db).add(batch, replace(each, conversation_id=conversation.id, started_at=at), None)


def made(turn: str, epoch: int = 1, **other: object) -> FinishedTrace:
    return finished(turn_trace(f"{turn}-{epoch}"), turn_id=turn, epoch=epoch, **other)


async def test_counts_turns_failures_latency_and_cost_by_hash(any_world: World, clock: FrozenClock) -> None:
    await keep(
        any_world,
        clock,
        *(made(f"turn_{n}", seconds=float(n), cost_micros=n * 100, release_id="rel_1") for n in range(1, 5)),
        made("turn_5", seconds=9.0, status="failed", release_id="rel_2"),
        made("turn_6", instructions_hash="def"),
        made("turn_7", tenant_id="other"),
    )
    first, second = (await found(any_world, clock)).rows
    assert (first.hash, first.turns, first.failed, first.release_id) == ("abc", 5, 1, "rel_2")
    assert (first.p50_micros, first.p95_micros) == (3_000_000, 9_000_000)
    assert (first.cost_micros, first.unpriced) == (1000, 1)
    assert (second.hash, second.turns, second.cost_micros, second.unpriced) == ("def", 1, None, 1)


async def test_a_turn_that_waited_for_people_is_one_turn_of_all_its_stretches(
    any_world: World, clock: FrozenClock
) -> None:
    await keep(
        any_world,
        clock,
        made("turn_1", 1, status="requires_action", seconds=1.0, cost_micros=5),
        made("turn_1", 2, status="completed", seconds=2.0, cost_micros=7),
    )
    (only,) = (await found(any_world, clock)).rows
    assert (only.turns, only.failed, only.p50_micros, only.cost_micros) == (1, 0, 3_000_000, 12)


async def test_looks_at_the_newest_and_says_so(any_world: World, clock: FrozenClock) -> None:
    await keep(any_world, clock, *(made(f"turn_{n}", instructions_hash=str(n)) for n in range(5)))
    cut, whole = await found(any_world, clock, 2), await found(any_world, clock, 5)
    assert ({each.hash for each in cut.rows}, cut.traces, cut.is_cut) == ({"3", "4"}, 2, True)
    assert (whole.traces, whole.is_cut) == (5, False)


@pytest.mark.parametrize(("narrowed", "turns"), [({"agent": "shop"}, [1]), ({"intent": "none such"}, [])])
async def test_is_narrowed_down(
    any_world: World, clock: FrozenClock, narrowed: dict[str, str], turns: list[int]
) -> None:
    await keep(any_world, clock, made("turn_1"), made("turn_2", agent="other"))
    assert [each.turns for each in (await found(any_world, clock, **narrowed)).rows] == turns


async def test_counts_the_thumbs_of_users_that_hold(any_world: World, clock: FrozenClock) -> None:
    conversation = await any_world.open()
    for score in (1, -1):
        turn = await any_world.say(conversation, "hello")
        for each in (-score, score):
            await give_feedback(
                any_world.services, ANA, conversation.id, FeedbackWanted("thumb", each, turn_id=turn["id"])
            )
    turn = await any_world.say(conversation, "hello")
    await give_feedback(any_world.services, ANA, conversation.id, FeedbackWanted("thumb", 1, turn_id=turn["id"]))
    await give_feedback(any_world.services, RITA, conversation.id, FeedbackWanted("thumb", -1, turn_id=turn["id"]))
    await any_world.services.traces.flush()
    (only,) = (await found(any_world, clock)).rows
    assert only.hash == any_world.release.instructions_hash
    assert (only.turns, only.thumbs_up, only.thumbs_down) == (3, 2, 1)
