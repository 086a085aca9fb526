"""Following a turn that another process runs, or goes on with: what a client shows at the end is the transcript."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from handrail.core.clock import FrozenClock
from handrail.core.events import Event
from handrail.db import Database
from handrail.flows.admission import follow_turn
from handrail.flows.leases import sweep
from handrail.serving.conversations import IdempotencyScope, SharedStreams, Streams, TurnStream
from handrail.serving.models import Reply, calls
from handrail.shared_state import Valkey
from tests.flows.desk import Desk
from tests.flows.world import ANA, World, closed, events_of, text_of, until, world_over

STOPS_AT = 20


@pytest.fixture
async def pair(db: Database, clock: FrozenClock) -> AsyncIterator[list[World]]:
    worlds = [await world_over(db, clock), await world_over(db, clock)]
    yield worlds
    for world in worlds:
        await closed(world)


@pytest.fixture
async def sharing(pair: list[World], valkey_url: str) -> AsyncIterator[list[World]]:
    """Two processes that share a server for live events."""
    valkeys = [Valkey(valkey_url, timeout_seconds=5.0) for _ in pair]
    shared = [SharedStreams(each) for each in valkeys]
    for world, valkey, streams in zip(pair, valkeys, shared, strict=True):
        await valkey.start()
        await streams.start()
        world.services.shared_streams, world.services.streams = streams, Streams(streams.tap)
    yield pair
    for world in pair:
        watchers = list(world.services.watchers)
        for each in watchers:
            each.cancel()
        await asyncio.gather(*watchers, return_exceptions=True)
        await closed(world)
    for each in (*shared, *valkeys):
        await each.close()


class Client:
    """Follows a turn at one process, and may come back at another."""

    def __init__(self) -> None:
        self.seen: list[Event] = []
        self._task: asyncio.Task[None] | None = None

    def at(self, world: World, turn_id: str) -> "Client":
        """Follow, from the last event on."""
        self._task = asyncio.create_task(self._follow(world, turn_id))
        return self

    def of(self, stream: TurnStream) -> "Client":
        self._task = asyncio.create_task(self._read(stream.batches()))
        return self

    def leave(self) -> None:
        assert self._task is not None
        self._task.cancel()

    async def ended(self) -> str:
        """The text that is shown at the end."""
        assert self._task is not None
        await asyncio.wait_for(self._task, 20)
        assert self.seen[-1].name == "turn.completed"
        return text_of(self.seen)

    async def _follow(self, world: World, turn_id: str) -> None:
        last = self.seen[-1] if self.seen else None
        after = (last.epoch, last.seq) if last else None
        await self._read(await follow_turn(world.services, ANA, turn_id, after))

    async def _read(self, batches: AsyncIterator[list[Event]]) -> None:
        async for batch in batches:
            self.seen += batch


async def test_a_client_of_a_process_that_lost_its_turn_shows_the_answer_of_the_next_owner_once(
    pair: list[World], clock: FrozenClock, desk: Desk
):
    zombie, heir = pair
    wakes, may_end = asyncio.Event(), asyncio.Event()

    async def waits(item: str) -> dict[str, int]:
        await (wakes if len(desk.seen) == 1 else may_end).wait()
        return {"left": 3}

    desk.acts["get_stock"] = waits
    zombie.script(calls(("get_stock", {"item": "lamp"}), text="Let me look at that for you. "), "The zombie counts.")
    heir.script(calls(("get_stock", {"item": "lamp"}), text="Let me look at that for you. "), "Three are left.")
    stream = await zombie.send(await zombie.open(), "how many lamps?")
    client = Client().at(zombie, stream.turn_id)
    await until(lambda: bool(desk.seen) and bool(text_of(client.seen)))
    clock.advance(100)
    await sweep(heir.services)
    await until(lambda: len(desk.seen) == 2)
    wakes.set()
    await zombie.settle(stream.turn_id)
    may_end.set()
    assert await client.ended() == await heir.answer(stream.turn_id)


@pytest.mark.valkey
class TestAWaitingTurnThatAnotherProcessRuns:
    """Its client is at the process that took the message; the turn runs where the one before it ended."""

    @pytest.fixture
    async def waiting(self, sharing: list[World]) -> tuple[TurnStream, str]:
        here, there = sharing
        words = " ".join(f"w{number}" for number in range(60))
        there.script(Reply("One.", delay_seconds=0.4), Reply(words, piece=4, gap_seconds=0.02))
        conversation = await there.open()
        await there.send(conversation, "first")
        return await here.send(conversation, "second"), words

    async def test_is_shown_live_and_once(self, sharing: list[World], waiting: tuple[TurnStream, str]):
        stream, words = waiting
        client = Client().of(stream)
        await until(lambda: len(text_of(client.seen)) > STOPS_AT)
        assert client.seen[-1].name == "message.delta", "live, and not at the end"
        assert await client.ended() == words
        assert await sharing[1].answer(stream.turn_id) == words
        names = [each.name for each in client.seen if each.name != "message.delta"]
        assert len(names) == len(set(names)), names

    @pytest.mark.parametrize("back_at", [0, 1])
    async def test_is_whole_for_a_client_that_comes_back(
        self, sharing: list[World], waiting: tuple[TurnStream, str], back_at: int
    ):
        stream, words = waiting
        client = Client().of(stream)
        await until(lambda: len(text_of(client.seen)) > STOPS_AT)
        client.leave()
        assert await client.at(sharing[back_at], stream.turn_id).ended() == words

    async def test_is_whole_for_somebody_who_watches_from_the_start(
        self, sharing: list[World], waiting: tuple[TurnStream, str]
    ):
        stream, words = waiting
        watcher = Client().at(sharing[0], stream.turn_id)
        assert await watcher.ended() == words


@pytest.mark.valkey
async def test_a_repeated_request_that_breaks_off_is_whole_when_it_goes_on_elsewhere(sharing: list[World]):
    here, there = sharing
    words = " ".join(f"w{number}" for number in range(60))
    there.script(Reply(words, piece=4, gap_seconds=0.02))
    conversation = await there.open()
    key = IdempotencyScope("turns", "once", b"tell")
    first = await there.send(conversation, "tell", idempotency=key)
    again = Client().of(await here.send(conversation, "tell", idempotency=key))
    await until(lambda: len(text_of(again.seen)) > STOPS_AT)
    again.leave()
    assert await again.at(there, first.turn_id).ended() == words
    assert text_of(await events_of(first)) == words


async def test_nobody_is_told_that_a_write_is_done_before_that_is_stored(pair: list[World], desk: Desk):
    world = pair[0]
    told_early: list[str] = []
    world.script(calls(("send_mail", {"text": "a"})), "Sent.")
    stream = await world.send(await world.open(), "send it")

    def look(writes: list[str]) -> None:
        if "update tool_call" in writes:
            told_early.extend(each.name for each in stream._events)  # pyright: ignore[reportPrivateUsage]

    world.db.before_commit = look
    assert "tool.completed" in [each.name for each in await events_of(stream)]
    assert "tool.started" in told_early
    assert "tool.completed" not in told_early


async def test_the_end_of_a_call_that_another_process_began_is_told(pair: list[World], clock: FrozenClock, desk: Desk):
    dead, heir = pair

    async def hangs(text: str) -> None:
        await asyncio.sleep(30)

    desk.acts["send_mail"] = hangs
    dead.script(calls(("send_mail", {"text": "a"})), "Sent.")
    heir.script("I can't say whether it was sent.")
    stream = await dead.send(await dead.open(), "send it")
    await until(lambda: bool(desk.seen))
    clock.advance(100)
    await sweep(heir.services)
    seen = await events_of(heir.services.streams.find(stream.turn_id) or stream)
    told = [(each.name, each.data.get("status")) for each in seen if each.name.startswith("tool.")]
    assert told == [("tool.started", None), ("tool.completed", "unknown")]
