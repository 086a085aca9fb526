"""How a process ends."""

import asyncio

import pytest

from handrail.flows.services import ShuttingDown
from handrail.flows.shutdown import drain
from handrail.serving.conversations import TurnStatus
from handrail.serving.models import Reply
from tests.flows.world import World, until


class TestDrain:
    async def test_lets_a_running_turn_end(self, world: World):
        world.script(Reply(text="Just in time.", delay_seconds=0.1))
        stream = await world.send(await world.open(), "hello")
        await drain(world.services, 5)
        assert (await stream.wait())["status"] == "completed"
        assert world.services.running == {}

    async def test_hands_over_a_turn_that_takes_too_long_and_tells_its_client(self, any_world: World):
        any_world.script(Reply(text="one two three", piece=4, gap_seconds=30))
        stream = await any_world.send(await any_world.open(), "count")
        await until(lambda: stream.text == "one ")
        await drain(any_world.services, 0.05)
        with pytest.raises(ShuttingDown, match="goes on"):
            await asyncio.wait_for(stream.wait(), 1)
        assert (await any_world.stored(stream.turn_id)).status is TurnStatus.RUNNING
        assert [turn.id for turn in await any_world.services.leases.expired()] == [stream.turn_id]

    async def test_lets_a_turn_finish_whose_answer_is_being_stored(self, world: World):
        conversation = await world.open()
        storing = asyncio.Event()

        async def slowly(writes: list[str]) -> None:
            if {"update turn", "insert message"} <= set(writes):
                storing.set()
                await asyncio.sleep(0.1)

        world.db.before_commit = slowly
        stream = await world.send(conversation, "hello")
        await storing.wait()
        await drain(world.services, 0.01)
        assert (await stream.wait())["status"] == "completed"
        assert (await world.stored(stream.turn_id)).status is TurnStatus.COMPLETED

    async def test_leaves_waiting_turns_to_whoever_comes_next(self, any_world: World):
        conversation = await any_world.open()
        any_world.script(Reply(text="last words", delay_seconds=0.1))
        running = await any_world.send(conversation, "hello")
        waiting = await any_world.send(conversation, "and then?")
        await drain(any_world.services, 5)
        assert (await running.wait())["status"] == "completed"
        with pytest.raises(ShuttingDown):
            await asyncio.wait_for(waiting.wait(), 1)
        assert (await any_world.stored(waiting.turn_id)).status is TurnStatus.QUEUED
        assert len(any_world.model.requests) == 1
