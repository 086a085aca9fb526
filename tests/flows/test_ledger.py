"""What model calls used stands on the books once, whoever dies meanwhile; what nobody knows is said to be unknown."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import pytest

from handrail.core.clock import FrozenClock
from handrail.core.usage import BROKEN_OFF, LOST, Usage, Used
from handrail.db import Database
from handrail.flows.leases import sweep
from handrail.flows.shutdown import drain
from handrail.insight.costs import ModelUsage
from handrail.serving.conversations import TurnStatus
from handrail.serving.models import Reply, calls
from tests.flows.desk import Desk
from tests.flows.test_approval import GUARDED, decided, ended
from tests.flows.test_resume import taken_over
from tests.flows.world import World, closed, until, world_over

UNKNOWN = Usage()
ASKED, SAID = Usage(100, 20), Usage(150, 30)


@pytest.fixture
async def pair(db: Database, clock: FrozenClock, desk: Desk) -> AsyncIterator[list[World]]:
    """A process that will die, and the one that is left."""
    worlds = [await world_over(db, clock), await world_over(db, clock)]
    yield worlds
    for world in worlds:
        await closed(world)


@pytest.fixture
async def guarded(db: Database, clock: FrozenClock) -> AsyncIterator[World]:
    world = await world_over(db, clock, project=GUARDED)
    yield world
    await closed(world)


async def books(world: World, turn_id: str) -> Sequence[ModelUsage]:
    return await world.services.usage.of_turn("default", turn_id)


def asks(tool: str, **arguments: str) -> Reply:
    return replace(calls((tool, arguments)), usage=ASKED)


class TestAProcessThatDies:
    async def test_leaves_what_its_calls_used_and_the_one_in_flight_is_charged_by_its_request(
        self, pair: list[World], clock: FrozenClock, desk: Desk
    ) -> None:
        dead, heir = pair
        desk.acts["send_mail"] = lambda text: {"sent": text}
        dead.script(asks("send_mail", text="a"), Reply(text="never", delay_seconds=30))
        heir.script(Reply(text="It is sent.", usage=SAID))
        stream = await dead.send(await dead.open(), "send it")
        await until(lambda: len(dead.model.requests) == 2)
        await taken_over(heir, clock, stream.turn_id)
        told = await books(heir, stream.turn_id)
        assert [(each.usage, each.finish_reason) for each in told] == [
            (ASKED, "tool_calls"), (UNKNOWN, LOST), (SAID, "stop"),
        ]  # fmt: skip
        stored = await heir.stored(stream.turn_id)
        assert (stored.usage, stored.cost_micros) == (ASKED + SAID, None)
        assert "model_tokens_estimated_total{" in heir.services.metrics.render().decode()

    @pytest.mark.parametrize("tool", ["send_mail", "get_order"])
    async def test_in_a_tool_has_lost_no_call_that_is_on_the_books(
        self, pair: list[World], clock: FrozenClock, desk: Desk, tool: str
    ) -> None:
        dead, heir = pair
        # A read is asked for again, and so its round is: nothing of it was stored.
        desk.acts[tool] = lambda **_: asyncio.sleep(30)
        argument = {"send_mail": "text", "get_order": "order"}[tool]
        dead.script(asks(tool, **{argument: "A1001"}))
        heir.script(Reply(text="I can't say.", usage=SAID))
        stream = await dead.send(await dead.open(), "do it")
        await until(lambda: bool(desk.seen))
        await taken_over(heir, clock, stream.turn_id)
        told = [(each.usage, each.finish_reason) for each in await books(heir, stream.turn_id)]
        first = (ASKED, "tool_calls") if tool == "send_mail" else (UNKNOWN, LOST)
        assert told == [first, (SAID, "stop")]

    async def test_before_another_one_does_is_on_the_books_too(self, pair: list[World], clock: FrozenClock) -> None:
        dead, heir = pair
        for world in pair:
            world.script(Reply(text="never", delay_seconds=30))
        stream = await dead.send(await dead.open(), "kill me")
        await until(lambda: bool(dead.model.requests))
        clock.advance(100)
        await sweep(heir.services)
        await until(lambda: bool(heir.model.requests))
        assert [each.finish_reason for each in await books(heir, stream.turn_id)] == [LOST]

    @pytest.mark.parametrize(("is_in_tool", "ends"), [(True, ["tool_calls"]), (False, ["tool_calls", LOST])])
    async def test_one_after_another_leaves_its_calls_with_the_turn_that_is_given_up(
        self, pair: list[World], clock: FrozenClock, desk: Desk, is_in_tool: bool, ends: list[str]
    ) -> None:
        dead, heir = pair
        desk.acts["send_mail"] = lambda **_: asyncio.sleep(30 if is_in_tool else 0, {})
        dead.script(asks("send_mail", text="a"), Reply(text="never", delay_seconds=30))
        stream = await dead.send(await dead.open(), "kill me")
        await until(lambda: bool(desk.seen) if is_in_tool else len(dead.model.requests) == 2)
        async with dead.services.db.batch() as batch:
            turn = await dead.stored(stream.turn_id)
            for epoch in range(1, 10):
                dying = replace(turn, epoch=epoch)
                heir.services.leases.take_over(batch, dying, owner="dying", lease_micros=1, sole_owner=True)
        clock.advance(100)
        await sweep(heir.services)
        stored = await heir.stored(stream.turn_id)
        assert (stored.status, stored.usage, stored.cost_micros) == (TurnStatus.FAILED, ASKED, None)
        assert [each.finish_reason for each in await books(heir, stream.turn_id)] == ends

    async def test_in_a_turn_without_a_model_has_lost_nothing(self, pair: list[World], clock: FrozenClock) -> None:
        dead, heir = pair
        dead.script(Reply(text="never", delay_seconds=30))
        conversation = await dead.open()
        stream = await dead.send(conversation, "hello")
        await until(lambda: bool(dead.model.requests))
        heir.head.knows("hello", "order_status", confidence=0.4)
        await taken_over(heir, clock, stream.turn_id)
        stored = await heir.stored(stream.turn_id)
        assert await books(heir, stream.turn_id) == []
        assert stored.cost_micros == 0


class TestACallThatIsStopped:
    async def test_stands_on_the_books_as_unknown(self, world: World) -> None:
        world.script(Reply(text="never", delay_seconds=30))
        stream = await world.send(await world.open(), "wait")
        await until(lambda: bool(world.model.requests))
        world.services.running[stream.turn_id].cancel()
        await world.settle(stream.turn_id)
        (only,) = await books(world, stream.turn_id)
        assert (only.usage, only.cost_micros, only.finish_reason) == (UNKNOWN, None, BROKEN_OFF)
        assert (await world.stored(stream.turn_id)).cost_micros is None

    async def test_of_a_turn_that_was_handed_over_is_not_counted_twice(
        self, pair: list[World], clock: FrozenClock
    ) -> None:
        leaving, heir = pair
        leaving.script(Reply(text="one two three", piece=4, gap_seconds=30))
        heir.script(Reply(text="one two three", usage=SAID))
        stream = await leaving.send(await leaving.open(), "count")
        await until(lambda: stream.text == "one ")
        await drain(leaving.services, 0.01)
        await taken_over(heir, clock, stream.turn_id)
        told = [(each.usage, each.finish_reason) for each in await books(heir, stream.turn_id)]
        assert told == [(UNKNOWN, BROKEN_OFF), (SAID, "stop")]


async def test_a_turn_that_waited_for_people_has_used_what_it_did_before_and_after(guarded: World, desk: Desk) -> None:
    guarded.script(asks("send_mail", text="a"), Reply(text="That is settled.", usage=SAID))
    parked = await guarded.say(await guarded.open(), "send it")
    assert parked["usage"] == {"input_tokens": 100, "output_tokens": 20, "cost_micros": None}
    (approval,) = await guarded.services.approvals.of_turn("default", parked["id"])
    await decided(guarded, approval, "reject", reason="no")
    await ended(guarded, parked["id"])
    assert (await guarded.stored(parked["id"])).usage == ASKED + SAID
    assert len(await books(guarded, parked["id"])) == 2


def test_the_cost_of_several_is_known_only_when_each_is() -> None:
    assert Used(ASKED, 3) + Used(SAID, 4) == Used(ASKED + SAID, 7)
    assert (Used(ASKED, 3) + Used(SAID, None)).cost_micros is None
    assert sum([], Used()).cost_micros == 0
