"""How turns of one conversation stand in line, how a key makes one turn, and how a turn is followed."""

import asyncio
import itertools
from collections.abc import AsyncIterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from handrail.core import events
from handrail.core.clock import FrozenClock
from handrail.core.errors import NotFound
from handrail.core.events import Event
from handrail.core.principal import Principal
from handrail.db import Database, StoreUnavailable
from handrail.db.postgres import PostgresDatabase
from handrail.flows.admission import follow_turn
from handrail.flows.cancel import cancel_turn
from handrail.flows.leases import sweep
from handrail.flows.switches import watch
from handrail.serving.conversations import (
    ConversationBusy,
    IdempotencyMismatch,
    IdempotencyScope,
    Streams,
    TurnStatus,
    TurnStream,
)
from handrail.serving.models import Reply, calls
from tests.flows.desk import Desk
from tests.flows.world import ANA, World, closed, events_of, text_of, until, world_over


def slow(*texts: str, seconds: float = 0.1) -> list[Reply]:
    return [Reply(text=text, delay_seconds=seconds) for text in texts]


async def followed(world: World, turn_id: str, after: tuple[int, int] | None = None) -> list[Event]:
    return [event async for batch in await follow_turn(world.services, ANA, turn_id, after) for event in batch]


class TestLine:
    async def test_one_runs_three_wait_and_the_fifth_is_refused(self, any_world: World):
        conversation = await any_world.open()
        any_world.script(*slow("a", "b", "c", "d", seconds=0.3))
        streams = [await any_world.send(conversation, text) for text in ("1", "2", "3", "4")]
        statuses = [
            status for _, status in await any_world.services.conversations.open_turns("default", conversation.id)
        ]
        assert statuses == [TurnStatus.RUNNING, *[TurnStatus.QUEUED] * 3]
        with pytest.raises(ConversationBusy) as refused:
            await any_world.send(conversation, "5")
        assert refused.value.retry_after_seconds
        answers = [(await asyncio.wait_for(stream.wait(), 10))["message"]["content"] for stream in streams]
        assert answers == ["a", "b", "c", "d"]

    async def test_is_kept_in_the_order_of_arrival_and_each_turn_sees_those_before_it(self, any_world: World):
        conversation = await any_world.open()
        any_world.script(*slow("a", "b", "c", seconds=0.02))
        streams = [await any_world.send(conversation, text) for text in ("1", "2", "3")]
        for stream in streams:
            await asyncio.wait_for(stream.wait(), 10)
        assert [message.content for message in any_world.model.requests[-1].messages] == ["1", "a", "2", "b", "3"]

    async def test_is_not_jumped_by_a_message_that_comes_as_the_next_turn_is_about_to_begin(self, any_world: World):
        conversation = await any_world.open()
        any_world.script(*slow("a", "b", "c", seconds=0.05))
        first = await any_world.send(conversation, "1")
        second = await any_world.send(conversation, "2")
        held, may_begin = asyncio.Event(), asyncio.Event()

        async def hold(writes: list[str]) -> None:
            if writes == ["update turn"] and first.is_over and not held.is_set():
                held.set()
                await may_begin.wait()

        any_world.db.before_commit = hold
        await held.wait()
        third = await any_world.send(conversation, "3")
        may_begin.set()
        answers = [(await asyncio.wait_for(each.wait(), 5))["message"]["content"] for each in (first, second, third)]
        assert answers == ["a", "b", "c"]

    async def test_is_told_to_who_waits(self, world: World):
        conversation = await world.open()
        world.script(*slow("a", "b"))
        await world.send(conversation, "1")
        seen = await events_of(await world.send(conversation, "2"))
        assert [event.name for event in seen][:3] == ["turn.queued", "turn.started", "route.decided"]
        assert text_of(seen) == "b"

    async def test_takes_one_of_many_that_arrive_at_once(self, any_world: World):
        conversation = await any_world.open()
        any_world.script(*slow("a", "b", "c", "d", seconds=0.4), repeats=True)
        racers = [any_world.send(conversation, str(number)) for number in range(12)]
        results = await asyncio.gather(*racers, return_exceptions=True)
        streams = [result for result in results if isinstance(result, TurnStream)]
        assert 1 <= len(streams) <= 4
        assert all(isinstance(r, TurnStream | ConversationBusy) for r in results)
        for stream in streams:
            assert (await asyncio.wait_for(stream.wait(), 10))["status"] == "completed"
        found = await any_world.services.conversations.find("default", conversation.id)
        assert found.turn_count == len(streams)

    async def test_does_not_hold_up_other_conversations(self, world: World):
        busy, other = await world.open(), await world.open()
        world.script(lambda request: Reply(text="ok", delay_seconds=5 if "slow" in request.messages[-1].content else 0))
        await world.send(busy, "slow")
        assert (await world.say(other, "quick"))["status"] == "completed"

    async def test_moves_up_when_the_running_turn_is_cancelled(self, any_world: World):
        conversation = await any_world.open()
        any_world.script(Reply(text="never", delay_seconds=30), "second")
        first = await any_world.send(conversation, "1")
        second = await any_world.send(conversation, "2")
        await until(lambda: len(any_world.model.requests) == 1)
        await cancel_turn(any_world.services, ANA, first.turn_id)
        assert (await asyncio.wait_for(second.wait(), 5))["message"]["content"] == "second"

    async def test_moves_up_when_the_running_turn_fails(self, world: World):
        conversation = await world.open()
        world.script(Reply(error=RuntimeError("down"), delay_seconds=0.05), "second")
        await world.send(conversation, "1")
        second = await world.send(conversation, "2")
        assert (await asyncio.wait_for(second.wait(), 5))["status"] == "completed"

    async def test_is_left_by_a_turn_that_is_cancelled_while_it_waits(self, any_world: World):
        conversation = await any_world.open()
        any_world.script(*slow("a", "c", seconds=0.4))
        await any_world.send(conversation, "1")
        waiting = await any_world.send(conversation, "2")
        last = await any_world.send(conversation, "3")
        turn = await cancel_turn(any_world.services, ANA, waiting.turn_id)
        assert turn.status is TurnStatus.CANCELLED
        assert [event.name for event in await events_of(waiting)] == ["turn.queued", "turn.cancelled"]
        assert (await asyncio.wait_for(last.wait(), 5))["message"]["content"] == "c"
        assert len(any_world.model.requests) == 2

    async def test_goes_on_when_the_store_fails_as_the_next_turn_begins(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr("handrail.flows.admission.POLL_SECONDS", 0.01)
        conversation = await world.open()
        world.script(*slow("a", "b"))
        first = await world.send(conversation, "1")
        second = await world.send(conversation, "2")
        failures = itertools.count()

        def fail(writes: list[str]) -> None:
            if writes == ["update turn"] and first.is_over and next(failures) < 2:
                raise StoreUnavailable("the disk is full")

        world.db.before_commit = fail
        assert (await asyncio.wait_for(second.wait(), 5))["message"]["content"] == "b"
        assert next(failures) >= 2


class TestIdempotency:
    async def test_of_a_hundred_racers_with_one_key_makes_one_turn(self, any_world: World):
        conversation = await any_world.open()
        any_world.script(*slow("once"))
        scope = IdempotencyScope("turns", "key", b"hello")
        racers = [any_world.send(conversation, "hello", idempotency=scope) for _ in range(100)]
        streams = await asyncio.gather(*racers)
        results = [await asyncio.wait_for(stream.wait(), 10) for stream in streams]
        assert {result["id"] for result in results} == {streams[0].turn_id}
        assert {result["message"]["content"] for result in results} == {"once"}
        assert len(any_world.model.requests) == 1
        found = await any_world.services.conversations.find("default", conversation.id)
        assert found.turn_count == 1

    async def test_attaches_a_repeated_request_to_the_turn_that_runs(self, world: World):
        conversation = await world.open()
        world.script(*slow("once"))
        scope = IdempotencyScope("turns", "key", b"hello")
        first = await world.send(conversation, "hello", idempotency=scope)
        again = await world.send(conversation, "hello", idempotency=scope)
        assert again is first
        assert text_of(await events_of(again)) == "once"

    async def test_attaches_it_to_the_turn_that_waits(self, world: World):
        conversation = await world.open()
        world.script(*slow("a", "b"))
        await world.send(conversation, "1")
        scope = IdempotencyScope("turns", "key", b"2")
        first = await world.send(conversation, "2", idempotency=scope)
        assert await world.send(conversation, "2", idempotency=scope) is first

    async def test_refuses_another_body_under_the_same_key(self, any_world: World):
        conversation = await any_world.open()
        await any_world.send(conversation, "hello", idempotency=IdempotencyScope("turns", "key", b"hello"))
        with pytest.raises(IdempotencyMismatch):
            await any_world.send(conversation, "bye", idempotency=IdempotencyScope("turns", "key", b"bye"))

    async def test_replays_the_same_turn_after_a_restart(self, db: Database, clock: FrozenClock, desk: Desk):
        scope = IdempotencyScope("turns", "key", b"hello")
        before = await world_over(db, clock)
        conversation = await before.open()
        before.script(calls(("get_order", {"order": "A1"})), "It is here.")
        first = await before.send(conversation, "hello", idempotency=scope)
        said = dict(await first.wait())
        after = await world_over(db, clock)
        again = await after.send(conversation, "hello", idempotency=scope)
        assert (again.turn_id, dict(await again.wait())) == (first.turn_id, said)
        assert text_of(await events_of(again)) == "It is here."
        assert after.model.requests == []

    async def test_counts_against_no_rate_when_it_only_attaches(self, world: World, clock: FrozenClock):
        conversation = await world.open()
        world.services.rate_limits = type(world.services.rate_limits)(clock, per_minute=1, burst=1)
        scope = IdempotencyScope("turns", "key", b"hello")
        for _ in range(3):
            await world.send(conversation, "hello", idempotency=scope)


class TestFollow:
    async def test_refuses_who_may_not_see_the_turn(self, world: World):
        result = await world.say(await world.open(), "hello")
        with pytest.raises(NotFound):
            await follow_turn(world.services, Principal("default", "bob"), result["id"], None)

    async def test_from_any_event_on_gives_the_rest_and_nothing_twice(self, world: World, desk: Desk):
        world.script(calls(("get_order", {"order": "A1"}), text="Let me see. "), "It is here.")
        stream = await world.send(await world.open(), "hello")
        everything = await events_of(stream)
        for seen in range(len(everything) + 1):
            assert everything[:seen] + await followed(world, stream.turn_id, (1, seen)) == everything

    async def test_from_the_transcript_tells_the_same_story_as_live(self, any_world: World, desk: Desk):
        any_world.script(calls(("get_order", {"order": "A1"}), text="Let me see."), "It is here.")
        stream = await any_world.send(await any_world.open(), "hello")
        live = await events_of(stream)
        any_world.services.streams = Streams()
        replayed = await followed(any_world, stream.turn_id)
        assert text_of(replayed) == text_of(live) == await any_world.answer(stream.turn_id)
        assert replayed[-1].data == live[-1].data
        lasting = [event.name for event in live if event.name != events.MESSAGE_DELTA]
        assert sorted(event.name for event in replayed if event.name != events.MESSAGE_DELTA) == sorted(lasting)

    async def test_of_a_turn_that_ended_while_nobody_looked_ends_too_when_all_was_seen(self, world: World):
        result = await world.say(await world.open(), "hello")
        world.services.streams = Streams()
        replayed = await followed(world, result["id"], (1, 3))
        last = replayed[-1]
        assert await followed(world, result["id"], (last.epoch, last.seq)) == []

    async def test_of_a_turn_whose_process_died_ends_with_the_answer_of_who_took_it_over(
        self, any_world: World, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr("handrail.flows.admission.POLL_SECONDS", 0.01)
        any_world.script(Reply(text="never", delay_seconds=30), "Here I am again.")
        stream = await any_world.send(await any_world.open(), "hello")
        any_world.services.streams, any_world.services.running = Streams(), {}
        follower = asyncio.create_task(followed(any_world, stream.turn_id))
        await asyncio.sleep(0.05)
        assert not follower.done()
        clock.advance(1000)
        await sweep(any_world.services)
        seen = await asyncio.wait_for(follower, 5)
        assert (seen[-1].name, text_of(seen)) == ("turn.completed", "Here I am again.")


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drops=st.lists(st.integers(0, 12), max_size=6), restarts_after=st.integers(0, 6), piece=st.integers(1, 9))
def test_however_often_a_client_drops_its_text_is_the_transcripts(
    drops: list[int], restarts_after: int, piece: int, conversation_runner: "Runner"
):
    conversation_runner.run(drops, restarts_after, piece)


class Runner:
    """Plays one conversation for each example of the property, in one event loop."""

    def __init__(self, world: World, loop: asyncio.AbstractEventLoop) -> None:
        self.world = world
        self.loop = loop

    def run(self, drops: list[int], restarts_after: int, piece: int) -> None:
        self.loop.run_until_complete(self._play(drops, restarts_after, piece))

    async def _play(self, drops: list[int], restarts_after: int, piece: int) -> None:
        world = self.world
        world.services.streams = Streams()
        world.script(
            calls(("get_order", {"order": "A1"}), text="One moment."),
            Reply(text="Your order is on its way to you.", piece=piece, gap_seconds=0.001),
        )
        stream = await world.send(await world.open(), "where is it")
        text, last = "", None
        for number, take in enumerate([*drops, 10_000]):
            if number == restarts_after:
                await stream.wait()
                await world.settle(stream.turn_id)
                world.services.streams = Streams()
            taken = 0
            async for batch in await follow_turn(world.services, ANA, stream.turn_id, last):
                for event in batch:
                    if taken == take:
                        break
                    taken += 1
                    last = (event.epoch, event.seq)
                    if event.name == events.MESSAGE_RESTARTED:
                        text = event.data["text"]
                    elif event.name == events.MESSAGE_DELTA:
                        text += event.data["text"]
                if taken == take:
                    break
        assert text == await world.answer(stream.turn_id)


@pytest.fixture
def conversation_runner(sqlite_url: str, clock: FrozenClock, desk: Desk):
    from handrail.db.sqlite import SqliteDatabase

    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        database = SqliteDatabase(sqlite_url.removeprefix("sqlite:///"), clock)
        world = loop.run_until_complete(world_over(database, clock))
        yield Runner(world, loop)
        loop.run_until_complete(closed(world))
        loop.run_until_complete(database.close())


@pytest.mark.postgres
class TestTwoReplicas:
    @pytest.fixture
    async def replicas(
        self, postgres_url: str, clock: FrozenClock, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> AsyncIterator[tuple[World, World]]:
        monkeypatch.setattr("handrail.flows.admission.POLL_SECONDS", 0.02)
        databases = [await PostgresDatabase.connect(postgres_url, clock, connections=4) for _ in range(2)]
        one, two = [await world_over(database, clock) for database in databases]
        yield one, two
        for world, database in zip((one, two), databases, strict=True):
            await closed(world)
            await database.close()

    async def test_serve_the_same_conversation(self, replicas: tuple[World, World]):
        one, two = replicas
        conversation = await one.open()
        one.script("From one.")
        two.script("From two.")
        await one.say(conversation, "hello")
        await two.say(conversation, "hello again")
        assert [message.content for message in two.model.requests[0].messages] == ["hello", "From one.", "hello again"]

    async def test_give_the_same_text_wherever_a_turn_is_followed(self, replicas: tuple[World, World]):
        one, two = replicas
        one.script(Reply(text="From one, slowly.", piece=4, gap_seconds=0.02))
        stream = await one.send(await one.open(), "hello")
        elsewhere = await asyncio.wait_for(followed(two, stream.turn_id), 5)
        assert text_of(elsewhere) == text_of(await events_of(stream)) == "From one, slowly."
        for seen in range(stream.seq + 1):
            part = (await events_of(stream))[:seen]
            rest = await followed(two, stream.turn_id, (1, seen))
            assert text_of([*part, *rest]) == "From one, slowly."

    async def test_answer_a_message_that_waits_at_one_and_is_begun_by_the_other(self, replicas: tuple[World, World]):
        one, two = replicas
        conversation = await one.open()
        one.script(*slow("first"))
        two.script("never asked")
        first = await one.send(conversation, "1")
        second = await two.send(conversation, "2")
        one.script("second, from one")
        await first.wait()
        result = await asyncio.wait_for(second.wait(), 5)
        assert result["message"]["content"] == "second, from one"
        assert text_of(await events_of(second)) == "second, from one"
        assert two.services.waiting == {}

    async def test_make_one_turn_of_one_key(self, replicas: tuple[World, World]):
        one, two = replicas
        conversation = await one.open()
        for world in replicas:
            world.script(*slow("once"))
        scope = IdempotencyScope("turns", "key", b"hello")
        racers = [world.send(conversation, "hello", idempotency=scope) for world in (one, two) * 10]
        streams = await asyncio.wait_for(asyncio.gather(*racers), 10)
        results = [await asyncio.wait_for(stream.wait(), 5) for stream in streams]
        assert len({result["id"] for result in results}) == 1
        assert len(one.model.requests) + len(two.model.requests) == 1

    async def test_stop_one_another_s_turns(self, replicas: tuple[World, World]):
        one, two = replicas
        one.script(Reply(text="never", delay_seconds=30))
        stream = await one.send(await one.open(), "hello")
        cancelling = asyncio.create_task(cancel_turn(two.services, ANA, stream.turn_id))
        while not cancelling.done():
            await watch(one.services)
            await asyncio.sleep(0.02)
        assert cancelling.result().status is TurnStatus.CANCELLED
        assert (await asyncio.wait_for(stream.wait(), 5))["status"] == "cancelled"

    async def test_leave_the_order_to_stop_with_a_turn_whose_process_does_not_hear_it(
        self, replicas: tuple[World, World], clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr("handrail.flows.cancel.WITHIN_SECONDS", 0.1)
        one, two = replicas
        for world in replicas:
            world.script(Reply(text="never", delay_seconds=30))
        stream = await one.send(await one.open(), "hello")
        assert (await cancel_turn(two.services, ANA, stream.turn_id)).status is TurnStatus.RUNNING
        clock.advance(100)
        await sweep(two.services)
        await watch(two.services)
        await two.settle(stream.turn_id)
        assert (await two.stored(stream.turn_id)).status is TurnStatus.CANCELLED

    async def test_show_a_repeated_request_the_turn_of_the_other(self, replicas: tuple[World, World]):
        one, two = replicas
        one.script(Reply(text="slowly", delay_seconds=0.3))
        conversation = await one.open()
        scope = IdempotencyScope("turns", "key", b"hello")
        first = await one.send(conversation, "hello", idempotency=scope)
        again = await asyncio.wait_for(two.send(conversation, "hello", idempotency=scope), 5)
        assert not again.is_over, "the second request waits for the answer, not for its own turn"
        assert await asyncio.wait_for(again.wait(), 10) == await asyncio.wait_for(first.wait(), 5)

    async def test_take_over_a_conversation_whose_replica_died_once_its_lease_ran_out(
        self, replicas: tuple[World, World], clock: FrozenClock
    ):
        one, two = replicas
        conversation = await one.open()
        one.script(Reply(text="never", delay_seconds=30))
        dead = await one.send(conversation, "hello")
        two.script("Here I am.", "And here.")
        waiting = await two.send(conversation, "anybody?")
        await asyncio.sleep(0.1)
        assert not waiting.is_over
        clock.advance(1000)
        await sweep(two.services)
        assert (await asyncio.wait_for(waiting.wait(), 5))["message"]["content"] == "And here."
        assert await two.answer(dead.turn_id) == "Here I am."
