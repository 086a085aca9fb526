"""What is left behind when processes die, sleep or fail half-way: nothing waits for ever, and people hear of doubts."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from handrail.core.clock import FrozenClock
from handrail.core.principal import Principal, Role
from handrail.db import Conflict, Database, StoreUnavailable
from handrail.flows.admission import follow_turn
from handrail.flows.approval import decide
from handrail.flows.cancel import cancel_turn
from handrail.flows.give_up import TOO_MANY_OWNERS
from handrail.flows.leases import keep, recover, renew, sweep
from handrail.serving.conversations import Fenced, IdempotencyScope, TurnStatus
from handrail.serving.models import Reply, calls
from tests.flows.desk import Desk
from tests.flows.world import ANA, PROJECT, World, closed, text_of, until, world_over

OLGA = Principal("default", "olga", frozenset({Role.APPROVER}))
INTENTS = PROJECT["intents.yaml"] + "- {name: close, title: close it, tool: send_mail_now, examples: [bye, close it]}\n"
TOOLS = (
    PROJECT["tools.py"]
    + '''

@tool(effect="write")
async def send_mail_now(context: ToolContext) -> Any:
    """Send the mail."""
    return await desk.do("send_mail_now", context)
'''
)
RULES = """
permissions: {}
approvals:
- {name: mails, tools: [send_mail, send_mail_now], expires_after: 20h}
- {name: refunds, tools: [refund], expires_after: 20h}
"""
ONE_TOOL = PROJECT | {"intents.yaml": INTENTS, "tools.py": TOOLS}
GUARDED = ONE_TOOL | {"policies.yaml": RULES}


@pytest.fixture
async def pair(db: Database, clock: FrozenClock):
    """A process that will die, and the one that is left."""
    worlds = [await world_over(db, clock, project=ONE_TOOL), await world_over(db, clock, project=ONE_TOOL)]
    yield worlds
    for world in worlds:
        await closed(world)


@pytest.fixture
async def guarded(db: Database, clock: FrozenClock):
    worlds = [await world_over(db, clock, project=GUARDED), await world_over(db, clock, project=GUARDED)]
    yield worlds
    for world in worlds:
        await closed(world)


async def hangs(**_: Any) -> None:
    await asyncio.sleep(30)


async def taken_over(heir: World, clock: FrozenClock, turn_id: str) -> None:
    clock.advance(100)
    await sweep(heir.services)
    await heir.settle(turn_id)


async def approved(world: World, turn_id: str) -> None:
    for each in await world.services.approvals.of_turn("default", turn_id):
        await decide(world.services, OLGA, each.id, "approve", fingerprint=each.fingerprint)
    await world.settle(turn_id)


async def stolen(world: World, turn_id: str) -> None:
    turn = await world.stored(turn_id)
    async with world.services.db.batch() as batch:
        world.services.leases.take_over(batch, turn, owner="thief", lease_micros=1)


def stops_at(world: World, *writes: str) -> asyncio.Event:
    """The process stands still for ever before the commit that holds all of these."""
    reached = asyncio.Event()

    async def stand_still(commit: list[str]) -> None:
        if set(writes) <= set(commit):
            reached.set()
            await asyncio.sleep(30)

    world.db.before_commit = stand_still
    return reached


class TestAnIntentThatIsOneTool:
    async def test_does_not_run_its_write_again_after_a_crash(self, pair: list[World], clock: FrozenClock, desk: Desk):
        dead, heir = pair
        for world in pair:
            world.head.knows("bye", "close")
        reached = stops_at(dead, "update turn", "insert message")
        stream = await dead.send(await dead.open(), "bye")
        await asyncio.wait_for(reached.wait(), 5)
        await taken_over(heir, clock, stream.turn_id)
        assert desk.names() == ["send_mail_now"]
        assert (await heir.stored(stream.turn_id)).status is TurnStatus.COMPLETED

    async def test_asks_people_once_and_then_runs(self, guarded: list[World], desk: Desk):
        world = guarded[0]
        world.head.knows("bye", "close")
        result = await world.say(await world.open(), "bye")
        await approved(world, result["id"])
        assert desk.names() == ["send_mail_now"]
        assert (await world.stored(result["id"])).status is TurnStatus.COMPLETED


class TestDoubtsReachAPerson:
    async def test_when_the_process_dies_between_the_unknown_result_and_the_answer(
        self, pair: list[World], clock: FrozenClock, desk: Desk
    ):
        dead, heir = pair
        desk.acts["refund"] = hangs
        dead.script(calls(("refund", {"order": "A1001"})), Reply(text="never", delay_seconds=30))
        heir.script("I don't know.")
        stream = await dead.send(await dead.open(), "refund it")
        await until(lambda: len(dead.model.requests) == 2)
        assert await dead.calls(stream.turn_id) == [("refund", "unknown")]
        await taken_over(heir, clock, stream.turn_id)
        (case,) = await heir.services.escalations.list("default")
        assert (case.turn_id, "refund" in case.reason) == (stream.turn_id, True)

    async def test_when_the_turn_is_out_of_time_in_the_middle_of_a_write(
        self, db: Database, clock: FrozenClock, desk: Desk
    ):
        world = await world_over(db, clock, deadline_seconds=0.3)
        desk.acts["send_mail"] = hangs
        world.script(calls(("send_mail", {"text": "a"})), "never")
        result = await world.say(await world.open(), "send it")
        assert (result["status"], result["error"]["code"]) == ("failed", "deadline_exceeded")
        assert await world.calls(result["id"]) == [("send_mail", "unknown")]
        (case,) = await world.services.escalations.list("default")
        assert result["escalation_id"] == case.id
        assert "support team" in result["message"]["content"]
        await closed(world)

    async def test_once_when_the_turn_parks_for_another_call_meanwhile(self, guarded: list[World], desk: Desk):
        world = guarded[0]
        desk.acts["close_account"] = lambda: _lost_connection()
        world.script(calls(("close_account", {}), ("send_mail", {"text": "a"})), "Done.")
        result = await world.say(await world.open(), "both")
        (case,) = await world.services.escalations.list("default")
        assert (result["status"], result["escalation_id"]) == ("requires_action", case.id)
        await approved(world, result["id"])
        stored = await world.stored(result["id"])
        assert (stored.status, stored.escalation_id) == (TurnStatus.COMPLETED, case.id)
        assert len(await world.services.escalations.list("default")) == 1


def _lost_connection() -> None:
    raise ConnectionResetError


class TestATurnThatNobodyRuns:
    async def test_is_not_kept_alive_by_the_owner_s_other_turns(
        self, pair: list[World], clock: FrozenClock, desk: Desk
    ):
        half, heir = pair
        desk.acts["get_stock"] = hangs
        half.script(Reply(text="slow", delay_seconds=30), repeats=True)
        heir.script("Here I am.", repeats=True)
        left = await half.send(await half.open(), "left behind")
        busy = await half.send(await half.open(), "busy")
        # As when the request was cancelled between the commit and the first step of the turn.
        del half.services.running[left.turn_id]
        for _ in range(3):
            clock.advance(6)
            await renew(half.services)
        await sweep(heir.services)
        await heir.settle(left.turn_id)
        assert (await heir.stored(left.turn_id)).status is TurnStatus.COMPLETED
        assert (await heir.stored(busy.turn_id)).epoch == 1

    async def test_is_taken_over_however_many_there_are(self, pair: list[World], clock: FrozenClock):
        dead, heir = pair
        dead.script(Reply(text="never", delay_seconds=30), repeats=True)
        heir.script("Here I am.", repeats=True)
        streams = [await dead.send(await dead.open(), "hello") for _ in range(60)]
        clock.advance(100)
        await sweep(heir.services)
        assert [(await heir.stored(each.turn_id)).epoch for each in streams] == [2] * 60

    async def test_that_can_not_be_read_keeps_none_of_the_others(
        self, pair: list[World], clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
    ):
        dead, heir = pair
        dead.script(Reply(text="never", delay_seconds=30), repeats=True)
        heir.script("Here I am.")
        broken = await dead.send(await dead.open(), "hello")
        sound = await dead.send(await dead.open(), "hello")
        read = heir.services.conversations.turn_messages

        async def broken_for_one(tenant_id: str, turn_id: str) -> Any:
            if turn_id == broken.turn_id:
                raise RuntimeError("a row that nobody foresaw")
            return await read(tenant_id, turn_id)

        monkeypatch.setattr(heir.services.conversations, "turn_messages", broken_for_one)
        clock.advance(100)
        assert await recover(heir.services) == 1
        await heir.settle(sound.turn_id)
        assert (await heir.stored(sound.turn_id)).status is TurnStatus.COMPLETED

    async def test_is_given_to_a_person_when_one_owner_after_another_dies_of_it(
        self, pair: list[World], clock: FrozenClock, desk: Desk
    ):
        dead, heir = pair
        desk.acts["send_mail"] = hangs
        dead.script(calls(("send_mail", {"text": "a"})))
        conversation = await dead.open()
        stream = await dead.send(conversation, "kill me")
        await until(lambda: bool(desk.seen))
        async with dead.services.db.batch() as batch:
            turn = await dead.stored(stream.turn_id)
            for epoch in range(1, 10):
                dying = replace(turn, epoch=epoch)
                heir.services.leases.take_over(batch, dying, owner="dying", lease_micros=1, sole_owner=True)
        await taken_over(heir, clock, stream.turn_id)
        stored = await heir.stored(stream.turn_id)
        assert (stored.status, stored.error_code) == (TurnStatus.FAILED, TOO_MANY_OWNERS)
        assert await heir.calls(stream.turn_id) == [("send_mail", "unknown")]
        (case,) = await heir.services.escalations.list("default")
        assert (case.id, case.turn_id) == (stored.escalation_id, stream.turn_id)
        heir.script("Go on.")
        assert (await heir.say(conversation, "next"))["status"] == "completed"


class TestTheKeepers:
    async def test_go_on_after_an_error_that_nobody_foresaw(self, pair: list[World], monkeypatch: pytest.MonkeyPatch):
        world = pair[0]
        world.services.limits = replace(world.services.limits, lease_seconds=0.03, sweep_seconds=0.01)
        asked = 0

        async def fails(*_: Any, **__: Any) -> Any:
            nonlocal asked
            asked += 1
            raise RuntimeError("a bug")

        monkeypatch.setattr(world.services.leases, "expired", fails)
        keepers = keep(world.services)
        await until(lambda: asked >= 3)
        assert not any(keeper.done() for keeper in keepers)
        for keeper in keepers:
            keeper.cancel()

    async def test_store_the_end_that_the_database_did_not_take(self, pair: list[World], clock: FrozenClock):
        world = pair[0]
        world.alone()
        world.script("Hello.")

        def down(writes: list[str]) -> None:
            if "insert message" in writes and "insert turn" not in writes:
                raise StoreUnavailable("the disk is full")

        world.db.before_commit = down
        result = await world.say(await world.open(), "hello")
        assert result["status"] == "failed"
        world.db.before_commit = None
        clock.advance(100)
        await sweep(world.services)
        assert (await world.stored(result["id"])).status is TurnStatus.FAILED
        assert world.services.unrecorded == {}


class TestAZombie:
    """A process that was stopped, lost its turn, and goes on."""

    async def test_whose_time_is_over_when_it_wakes_does_not_tell_its_client_of_a_failure(
        self, pair: list[World], clock: FrozenClock
    ):
        zombie, heir = pair
        zombie.script(Reply(text="never", delay_seconds=30))
        heir.script(Reply(text="Mine now.", delay_seconds=0.3))
        stream = await zombie.send(await zombie.open(), "hello")
        await until(lambda: bool(zombie.model.requests))
        clock.advance(100)
        await sweep(heir.services)
        zombie.services.running[stream.turn_id].cancel()
        with pytest.raises(Fenced):
            await stream.wait()
        await heir.settle(stream.turn_id)
        assert await heir.answer(stream.turn_id) == "Mine now."

    async def test_that_wants_to_park_lets_go_of_its_client(self, guarded: list[World], clock: FrozenClock):
        zombie, heir = guarded
        reached = asyncio.Event()
        wakes = asyncio.Event()

        async def sleep_before_parking(writes: list[str]) -> None:
            if "insert message" in writes and zombie.services.ending:
                reached.set()
                await wakes.wait()

        zombie.db.before_commit = sleep_before_parking
        zombie.script(calls(("send_mail", {"text": "a"})))
        heir.script("never")
        stream = await zombie.send(await zombie.open(), "send it")
        await asyncio.wait_for(reached.wait(), 5)
        await taken_over(heir, clock, stream.turn_id)
        wakes.set()
        result = await asyncio.wait_for(stream.wait(), 5)
        assert result["status"] == "requires_action"
        assert (await heir.stored(stream.turn_id)).epoch == 2

    async def test_does_not_show_its_old_end_of_a_turn_that_went_on_elsewhere(self, guarded: list[World], desk: Desk):
        old, other = guarded
        old.script(calls(("send_mail", {"text": "a"})))
        other.script("Sent.")
        conversation, scope = await old.open(), IdempotencyScope("turns", "k1", b"x")
        stream = await old.send(conversation, "send it", idempotency=scope)
        assert (await stream.wait())["status"] == "requires_action"
        await approved(other, stream.turn_id)
        seen = [
            e
            for batch in [b async for b in await follow_turn(old.services, ANA, stream.turn_id, (2, 1))]
            for e in batch
        ]
        assert (seen[-1].name, text_of(seen)) == ("turn.completed", await other.answer(stream.turn_id))
        again = await old.send(conversation, "send it", idempotency=scope)
        assert (await again.wait())["status"] == "completed"


class TestTime:
    async def test_that_a_decision_took_does_not_change_where_the_turn_was_going(
        self, guarded: list[World], clock: FrozenClock, desk: Desk
    ):
        world = guarded[0]
        world.head.knows("money back for A1001", "refund")
        conversation = await world.open()
        await world.say(conversation, "money back for A1001")
        result = await world.say(conversation, "yes")
        assert result["status"] == "requires_action"
        clock.advance(5 * 3600)
        await approved(world, result["id"])
        assert desk.names() == ["refund"]
        assert await world.answer(result["id"]) == "Order A1001 is refunded."

    async def test_of_a_process_whose_clock_is_slow_does_not_shorten_its_leases(self, db: Database, clock: FrozenClock):
        slow = await world_over(db, FrozenClock())
        assert isinstance(slow.services.clock, FrozenClock)
        slow.script(Reply(text="never", delay_seconds=30))
        clock.advance(3600)
        stream = await slow.send(await slow.open(), "hello")
        assert await slow.services.leases.expired() == []
        with pytest.raises(Conflict):
            await stolen(slow, stream.turn_id)
        await cancel_turn(slow.services, ANA, stream.turn_id)
        await closed(slow)
