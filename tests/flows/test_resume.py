"""A turn whose process is gone goes on elsewhere: nothing is lost, and nothing is done twice."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from handrail.core.clock import FrozenClock
from handrail.db import Database
from handrail.flows.leases import recover, renew, sweep
from handrail.serving.conversations import TurnStatus
from handrail.serving.models import Reply, calls
from handrail.serving.tools import ToolError
from tests.flows.desk import Desk
from tests.flows.world import PROJECT, World, closed, events_of, text_of, until, world_over

RECONCILED = '''
from typing import Any

from handrail import ToolContext, tool
from tests.flows.desk import desk


async def looked_up(order: str, context: ToolContext) -> Any:
    return await desk.do("looked_up", context, order=order)


@tool(effect="write", timeout_seconds=0.6, reconcile=looked_up)
async def refund(order: str, context: ToolContext) -> Any:
    """Pay an order back."""
    return await desk.do("refund", context, order=order)


@tool(effect="write", timeout_seconds=0.6, reconcile=looked_up, idempotent=True)
async def refund_by_key(order: str, context: ToolContext) -> Any:
    """Pay an order back, once for every key."""
    return await desk.do("refund_by_key", context, order=order)


@tool(effect="read")
async def get_stock(item: str, context: ToolContext) -> Any:
    """Look up how many are left."""
    return await desk.do("get_stock", context, item=item)
'''
RECONCILING = {
    "agent.yaml": PROJECT["agent.yaml"],
    "instructions.md": PROJECT["instructions.md"],
    "tools.py": RECONCILED,
}


@pytest.fixture
async def pair(db: Database, clock: FrozenClock):
    """A process that will die, and the one that is left."""
    worlds = [await world_over(db, clock), await world_over(db, clock)]
    yield worlds
    for world in worlds:
        await closed(world)


@pytest.fixture
async def reconciling(db: Database, clock: FrozenClock):
    worlds = [await world_over(db, clock, project=RECONCILING) for _ in range(2)]
    yield worlds
    for world in worlds:
        await closed(world)


async def hangs(**_: Any) -> None:
    await asyncio.sleep(30)


async def taken_over(heir: World, clock: FrozenClock, turn_id: str) -> str:
    """Let the lease run out, take over, and wait for the end; returns the answer."""
    clock.advance(100)
    await sweep(heir.services)
    stream = heir.services.streams.find(turn_id)
    # On a machine that is busy it may have ended before the sweep did.
    assert stream is not None or (await heir.stored(turn_id)).epoch == 2, "the turn was not taken over"
    if stream is not None:
        await asyncio.wait_for(stream.wait(), 10)
        await heir.settle(turn_id)
    return await heir.answer(turn_id)


async def test_a_turn_that_died_before_its_first_word_is_answered(pair: list[World], clock: FrozenClock):
    dead, heir = pair
    dead.script(Reply(text="never", delay_seconds=30))
    heir.script("Hello again.")
    stream = await dead.send(await dead.open(), "hello")
    await until(lambda: bool(dead.model.requests))
    assert await taken_over(heir, clock, stream.turn_id) == "Hello again."
    assert (await heir.stored(stream.turn_id)).epoch == 2


async def test_a_lease_that_is_renewed_is_not_taken_over(pair: list[World], clock: FrozenClock):
    alive, other = pair
    alive.script(Reply(text="slowly", delay_seconds=0.2))
    stream = await alive.send(await alive.open(), "hello")
    for _ in range(5):
        clock.advance(10)
        await renew(alive.services)
        await sweep(other.services)
    assert other.services.running == {}
    assert (await asyncio.wait_for(stream.wait(), 5))["status"] == "completed"


async def test_rounds_that_are_stored_are_not_made_again(pair: list[World], clock: FrozenClock, desk: Desk):
    dead, heir = pair
    desk.acts["send_mail"] = lambda text: {"sent": text}
    dead.script(calls(("send_mail", {"text": "a"}), text="I send it."), Reply(text="never", delay_seconds=30))
    heir.script("It is sent.")
    stream = await dead.send(await dead.open(), "send it")
    await until(lambda: len(dead.model.requests) == 2)
    assert await taken_over(heir, clock, stream.turn_id) == "I send it.\n\nIt is sent."
    assert [name for name, _ in desk.seen] == ["send_mail"]
    told = [message.content for message in heir.model.requests[0].messages if message.role == "tool"]
    assert [json.loads(each) for each in told] == [{"sent": "a"}]


async def test_a_write_that_had_begun_is_never_made_again_and_goes_to_a_person(
    pair: list[World], clock: FrozenClock, desk: Desk
):
    dead, heir = pair
    desk.acts["send_mail"] = hangs
    dead.script(calls(("send_mail", {"text": "a"})))
    heir.script("I don't know whether it was sent.")
    stream = await dead.send(await dead.open(), "send it")
    await until(lambda: bool(desk.seen))
    answer = await taken_over(heir, clock, stream.turn_id)
    assert [name for name, _ in desk.seen] == ["send_mail"]
    assert await heir.calls(stream.turn_id) == [("send_mail", "unknown")]
    assert answer.startswith("I don't know whether it was sent.")
    (case,) = await heir.services.escalations.list("default")
    assert "send_mail" in case.reason


async def test_calls_that_had_not_begun_are_made_once(pair: list[World], clock: FrozenClock, desk: Desk):
    dead, heir = pair
    desk.acts["send_mail"] = lambda text: asyncio.sleep(30 if text == "a" else 0, {"sent": text})
    dead.script(calls(("send_mail", {"text": "a"}), ("send_mail", {"text": "b"})))
    heir.script("Done what I could.")
    stream = await dead.send(await dead.open(), "send both")
    await until(lambda: bool(desk.seen))
    await taken_over(heir, clock, stream.turn_id)
    assert [arguments["text"] for _, arguments in desk.seen] == ["a", "b"]
    assert await heir.calls(stream.turn_id) == [("send_mail", "unknown"), ("send_mail", "completed")]


async def test_a_flow_goes_on_behind_the_call_it_had_made(pair: list[World], clock: FrozenClock, desk: Desk):
    dead, heir = pair
    for world in pair:
        world.head.knows("money back for A1001", "refund")
    conversation = await dead.open()
    await dead.say(conversation, "money back for A1001")
    desk.acts["refund"] = lambda order: {"paid": order}
    stored = asyncio.Event()

    async def stop_after_the_result(writes: list[str]) -> None:
        if {"update turn", "insert message"} <= set(writes):
            stored.set()
            await asyncio.sleep(30)

    dead.db.before_commit = stop_after_the_result
    stream = await dead.send(conversation, "yes")
    await asyncio.wait_for(stored.wait(), 5)
    assert await taken_over(heir, clock, stream.turn_id) == "Order A1001 is refunded."
    assert [name for name, _ in desk.seen] == ["refund"]


@pytest.mark.parametrize(
    ("tool", "found", "expected", "effects"),
    [
        ("refund", {"paid": "A1"}, "completed", 1),
        ("refund", None, "unknown", 1),
        ("refund_by_key", None, "completed", 2),
        ("refund_by_key", {"paid": "A1"}, "completed", 1),
    ],
)
async def test_a_tool_that_can_reconcile_is_asked_and_only_an_idempotent_one_runs_again(
    reconciling: list[World], clock: FrozenClock, desk: Desk, tool: str, found: Any, expected: str, effects: int
):
    dead, heir = reconciling
    first = True

    async def hangs_once(order: str) -> dict[str, str]:
        nonlocal first
        if first:
            first = False
            await asyncio.sleep(30)
        return {"paid": order}

    desk.acts[tool] = hangs_once
    desk.acts["looked_up"] = lambda order: found
    dead.script(calls((tool, {"order": "A1"})))
    heir.script("So it stands.")
    stream = await dead.send(await dead.open(), "refund A1")
    await until(lambda: bool(desk.seen))
    await taken_over(heir, clock, stream.turn_id)
    assert await heir.calls(stream.turn_id) == [(tool, expected)]
    assert [name for name, _ in desk.seen].count(tool) == effects


async def test_a_tool_that_can_not_say_what_happened_leaves_it_to_a_person(
    reconciling: list[World], clock: FrozenClock, desk: Desk
):
    dead, heir = reconciling

    def broken(order: str) -> None:
        raise ToolError(f"no idea about {order}")

    desk.acts["refund_by_key"] = hangs
    desk.acts["looked_up"] = broken
    dead.script(calls(("refund_by_key", {"order": "A1"})))
    heir.script("I can't tell.")
    stream = await dead.send(await dead.open(), "refund A1")
    await until(lambda: bool(desk.seen))
    await taken_over(heir, clock, stream.turn_id)
    assert await heir.calls(stream.turn_id) == [("refund_by_key", "unknown")]


async def test_a_process_that_slept_through_its_lease_writes_nothing_more(
    pair: list[World], clock: FrozenClock, desk: Desk
):
    zombie, heir = pair
    wakes = asyncio.Event()

    async def sleeps(text: str) -> dict[str, str]:
        await wakes.wait()
        return {"sent": text}

    desk.acts["send_mail"] = sleeps
    zombie.script(calls(("send_mail", {"text": "a"})), "Sent, says the zombie.")
    heir.script("A person looks into it.")
    stream = await zombie.send(await zombie.open(), "send it")
    await until(lambda: bool(desk.seen))
    answer = await taken_over(heir, clock, stream.turn_id)
    before = await heir.stored(stream.turn_id)
    wakes.set()
    await zombie.settle(stream.turn_id)
    assert await heir.stored(stream.turn_id) == before
    assert await heir.answer(stream.turn_id) == answer
    assert await heir.calls(stream.turn_id) == [("send_mail", "unknown")]
    assert len(zombie.model.requests) == 1
    assert text_of(await events_of(stream)) == answer


@pytest.mark.parametrize(("tool", "effects", "status"), [("refund", 1, "unknown"), ("refund_by_key", 2, "completed")])
async def test_a_sleeper_whose_tool_acts_after_somebody_asked_what_became_of_it_does_no_harm(
    reconciling: list[World], clock: FrozenClock, desk: Desk, tool: str, effects: int, status: str
):
    """What is not idempotent was not run again by then; what is idempotent has the same key both times."""
    zombie, heir = reconciling
    wakes, happened = asyncio.Event(), list[str]()

    async def sleeps_at_first(order: str) -> dict[str, str]:
        key = desk.contexts[-1].idempotency_key
        if len(desk.names()) == 1:
            await wakes.wait()
        happened.append(key)
        return {"paid": order}

    desk.acts[tool] = sleeps_at_first
    desk.acts["looked_up"] = lambda order: None
    zombie.release.tools[tool] = replace(zombie.release.tools[tool], timeout_seconds=30.0)
    zombie.script(calls((tool, {"order": "A1"})), "Paid, says the zombie.")
    heir.script("So it stands.")
    stream = await zombie.send(await zombie.open(), "refund A1")
    await until(lambda: bool(desk.seen))
    await taken_over(heir, clock, stream.turn_id)
    wakes.set()
    await zombie.settle(stream.turn_id)
    assert len(happened) == effects
    assert len(set(happened)) == 1
    assert await heir.calls(stream.turn_id) == [(tool, status)]
    assert await heir.answer(stream.turn_id) == (await stream.wait())["message"]["content"]


async def test_of_two_heirs_one_takes_over(db: Database, pair: list[World], clock: FrozenClock):
    dead, first = pair
    second = await world_over(db, clock)
    dead.script(Reply(text="never", delay_seconds=30))
    for heir in (first, second):
        heir.script("Mine.")
    stream = await dead.send(await dead.open(), "hello")
    await until(lambda: bool(dead.model.requests))
    clock.advance(100)
    await asyncio.gather(sweep(first.services), sweep(second.services))
    await until(lambda: not first.services.running and not second.services.running)
    assert await first.answer(stream.turn_id) == "Mine."
    assert len(first.model.requests) + len(second.model.requests) == 1
    await closed(second)


async def test_the_line_moves_on_when_the_process_that_ran_it_is_gone(pair: list[World], clock: FrozenClock):
    dead, heir = pair
    dead.script(Reply(text="never", delay_seconds=30))
    heir.script("First.", "Second.")
    conversation = await dead.open()
    first = await dead.send(conversation, "one")
    second = await dead.send(conversation, "two")
    for watcher in dead.services.watchers:
        watcher.cancel()
    assert await taken_over(heir, clock, first.turn_id) == "First."
    await until(lambda: heir.services.streams.find(second.turn_id) is not None)
    stream = heir.services.streams.find(second.turn_id)
    assert stream is not None
    assert (await asyncio.wait_for(stream.wait(), 5))["message"]["content"] == "Second."


async def test_the_sole_owner_of_a_database_goes_on_at_once_when_it_is_back(
    sqlite_db: Database, clock: FrozenClock, desk: Desk
):
    killed = await world_over(sqlite_db, clock)
    killed.script(Reply(text="I never finish.", piece=3, gap_seconds=30))
    running = await killed.send(await killed.open(), "hello")
    await until(lambda: running.text != "")
    back = await world_over(sqlite_db, clock, sole_owner=True)
    back.script("Where was I?")
    assert await recover(back.services) == 1
    await until(lambda: not back.services.running)
    assert await back.answer(running.turn_id) == "Where was I?"
    assert (await back.stored(running.turn_id)).status is TurnStatus.COMPLETED
    await closed(killed)
    assert await back.answer(running.turn_id) == "Where was I?"
    await closed(back)


async def test_a_write_that_runs_again_and_gets_no_answer_stays_unknown(
    reconciling: list[World], clock: FrozenClock, desk: Desk
):
    dead, heir = reconciling
    desk.acts["refund_by_key"] = hangs
    desk.acts["looked_up"] = lambda order: None
    dead.script(calls(("refund_by_key", {"order": "A1"})))
    heir.script("I don't know.")
    stream = await dead.send(await dead.open(), "refund it")
    await until(lambda: bool(desk.seen))
    heir.services.breakers.force_open("tool:shop/refund_by_key", "it must not be called now")
    await taken_over(heir, clock, stream.turn_id)
    assert await heir.calls(stream.turn_id) == [("refund_by_key", "unknown")]
    assert desk.names() == ["refund_by_key", "looked_up"]
