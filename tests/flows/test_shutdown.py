"""How a process ends and begins again."""

import asyncio

from handrail.core.clock import FrozenClock
from handrail.db import Database
from handrail.db.sqlite import SqliteDatabase
from handrail.flows.shutdown import drain, recover
from handrail.serving.conversations import TurnStatus
from handrail.serving.models import Reply
from tests.flows.desk import Desk
from tests.flows.world import World, closed, events_of, until, world_over


class TestDrain:
    async def test_lets_a_running_turn_end(self, world: World):
        world.script(Reply(text="Just in time.", delay_seconds=0.1))
        stream = await world.send(await world.open(), "hello")
        await drain(world.services, 5)
        assert (await stream.wait())["status"] == "completed"
        assert world.services.running == {}

    async def test_stops_a_turn_that_takes_too_long_and_tells_its_client(self, world: World):
        world.script(Reply(text="one two three", piece=4, gap_seconds=30))
        stream = await world.send(await world.open(), "count")
        await until(lambda: stream.text == "one ")
        await drain(world.services, 0.05)
        result = await asyncio.wait_for(stream.wait(), 1)
        assert (result["status"], result["error"]["code"]) == ("failed", "interrupted")
        assert result["message"]["content"].startswith("one \n\n")
        assert (await world.stored(stream.turn_id)).error_code == "interrupted"

    async def test_stops_a_turn_that_has_only_just_begun(self, world: World):
        world.script(Reply(text="never", delay_seconds=30))
        stream = await world.send(await world.open(), "hello")
        await drain(world.services, 0)
        assert (await asyncio.wait_for(stream.wait(), 1))["status"] == "failed"
        assert (await world.stored(stream.turn_id)).status is TurnStatus.FAILED

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

    async def test_ends_waiting_turns_without_beginning_them(self, any_world: World):
        conversation = await any_world.open()
        any_world.head.knows("track it", "order_status")
        any_world.script(Reply(text="last words", delay_seconds=0.1))
        running = await any_world.send(conversation, "hello")
        waiting = await any_world.send(conversation, "and then?")
        await drain(any_world.services, 5)
        assert (await running.wait())["status"] == "completed"
        assert (await asyncio.wait_for(waiting.wait(), 1))["error"]["code"] == "interrupted"
        assert (await any_world.stored(waiting.turn_id)).status is TurnStatus.FAILED
        assert [event.name for event in await events_of(waiting)][-1] == "turn.failed"
        assert len(any_world.model.requests) == 1

    async def test_keeps_the_question_that_a_waiting_turn_would_have_answered(self, world: World, desk: Desk):
        conversation = await world.open()
        world.head.knows("money back for A1001", "refund")
        asked = asyncio.Event()

        async def slowly(writes: list[str]) -> None:
            if {"update turn", "insert message"} <= set(writes):
                asked.set()
                await asyncio.sleep(0.05)

        world.db.before_commit = slowly
        await world.send(conversation, "money back for A1001")
        await asked.wait()
        yes = await world.send(conversation, "yes")
        await drain(world.services, 5)
        assert (await yes.wait())["status"] == "failed"
        assert desk.seen == []
        assert await world.awaiting(conversation) == "flow_confirm"


class TestRecover:
    async def test_ends_what_a_killed_process_left_open_and_lets_the_conversation_go_on(
        self, sqlite_url: str, sqlite_db: Database, clock: FrozenClock, desk: Desk
    ):
        killed = await world_over(sqlite_db, clock)
        killed.script(Reply(text="I never finish.", piece=3, gap_seconds=30))
        conversation = await killed.open()
        running = await killed.send(conversation, "hello")
        waiting = await killed.send(conversation, "and?")
        await until(lambda: running.text != "")

        database = SqliteDatabase(sqlite_url.removeprefix("sqlite:///"), clock)
        restarted = await world_over(database, clock)
        await recover(restarted.services)
        for turn_id in (running.turn_id, waiting.turn_id):
            turn = await restarted.stored(turn_id)
            assert (turn.status, turn.error_code) == (TurnStatus.FAILED, "interrupted")
        assert (await restarted.say(conversation, "again"))["status"] == "completed"
        said = [message.content for message in await restarted.turn_messages(running.turn_id)]
        assert said == ["hello"]

        # What is left of the killed process learns that it owns nothing any more.
        await closed(killed)
        assert (await restarted.stored(running.turn_id)).error_code == "interrupted"
        await closed(restarted)
        await database.close()
