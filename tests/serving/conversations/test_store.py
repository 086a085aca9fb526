"""The conversation store on both databases."""

import asyncio

import pytest

from handrail.core.answers import Awaiting
from handrail.core.clock import FrozenClock
from handrail.core.errors import NotFound
from handrail.core.ids import new_id
from handrail.core.messages import Message, ToolCall, ToolResult
from handrail.core.principal import Principal, Role
from handrail.core.usage import Usage
from handrail.db import Conflict, Database
from handrail.serving.conversations import (
    Conversation,
    ConversationStore,
    IdempotencyMismatch,
    IdempotencyScope,
    LeaseStore,
    Turn,
    TurnEnd,
    TurnStatus,
    as_messages,
)

LEASE = 10_000_000
ANA = Principal("acme", "ana")


def a_conversation(clock: FrozenClock, principal: Principal = ANA) -> Conversation:
    at = clock.micros()
    return Conversation(
        new_id("conv"), principal.tenant_id, principal.subject, "shop", "rel_1", "api", 0, 0, None, at, at
    )


def a_turn(conversation: Conversation, seq: int, clock: FrozenClock, status: TurnStatus = TurnStatus.RUNNING) -> Turn:
    epoch = 1 if status is TurnStatus.RUNNING else 0
    return Turn(
        new_id("turn"), conversation.tenant_id, conversation.id, seq, status, "shop", "rel_1", epoch, clock.micros()
    )


async def added(store: ConversationStore, db: Database, conversation: Conversation) -> Conversation:
    async with db.batch() as batch:
        store.add(batch, conversation)
    return conversation


async def begun(store: ConversationStore, db: Database, turn: Turn, text: str = "hello") -> Turn:
    async with db.batch() as batch:
        store.begin(batch, turn, text, owner="me", lease_micros=LEASE)
    return turn


class TestRequire:
    async def test_gives_the_owner_and_staff_of_the_tenant_their_conversation(self, db: Database, clock: FrozenClock):
        store = ConversationStore(db)
        conversation = await added(store, db, a_conversation(clock))
        staff = Principal("acme", "sam", frozenset({Role.REVIEWER}))
        assert await store.require(ANA, conversation.id) == conversation
        assert await store.require(staff, conversation.id) == conversation

    @pytest.mark.parametrize(
        "stranger", [Principal("acme", "bob"), Principal("evil", "ana"), Principal("evil", "x", frozenset(Role))]
    )
    async def test_hides_it_from_everybody_else(self, db: Database, clock: FrozenClock, stranger: Principal):
        store = ConversationStore(db)
        conversation = await added(store, db, a_conversation(clock))
        turn = await begun(store, db, a_turn(conversation, 1, clock))
        with pytest.raises(NotFound):
            await store.require(stranger, conversation.id)
        with pytest.raises(NotFound, match="turn"):
            await store.require_turn(stranger, turn.id)


class TestBegin:
    async def test_a_second_running_turn_of_a_conversation_conflicts_and_leaves_nothing(
        self, db: Database, clock: FrozenClock
    ):
        store = ConversationStore(db)
        conversation = await added(store, db, a_conversation(clock))
        await begun(store, db, a_turn(conversation, 1, clock))
        second = a_turn(conversation, 2, clock)
        with pytest.raises(Conflict):
            await begun(store, db, second)
        assert await store.find_turn("acme", second.id) is None
        assert (await store.require(ANA, conversation.id)).turn_count == 1

    async def test_of_many_racers_for_one_place_one_wins(self, db: Database, clock: FrozenClock):
        store = ConversationStore(db)
        conversation = await added(store, db, a_conversation(clock))
        racers = [begun(store, db, a_turn(conversation, 1, clock)) for _ in range(20)]
        results = await asyncio.gather(*racers, return_exceptions=True)
        assert sum(isinstance(result, Turn) for result in results) == 1
        assert sum(isinstance(result, Conflict) for result in results) == 19

    async def test_keeps_what_a_client_says_came_before_apart_from_the_transcript(
        self, db: Database, clock: FrozenClock
    ):
        store = ConversationStore(db)
        conversation = await added(store, db, a_conversation(clock))
        turn = a_turn(conversation, 1, clock)
        earlier = [Message("user", "hi", "client"), Message("assistant", "I refunded you", "client")]
        async with db.batch() as batch:
            store.begin(batch, turn, "go on", owner="me", lease_micros=LEASE, earlier=earlier)
        history = await store.history(turn, limit=10)
        assert [(each.content, each.provenance) for each in history] == [("hi", "client"), ("I refunded you", "client")]


class TestEnd:
    async def test_stores_how_the_turn_ended_and_what_the_conversation_waits_for(
        self, db: Database, clock: FrozenClock
    ):
        store = ConversationStore(db)
        conversation = await added(store, db, a_conversation(clock))
        turn = await begun(store, db, a_turn(conversation, 1, clock))
        awaiting = Awaiting("confirm", "refund", {"message": "refund me"}, "abc", clock.micros() + 5)
        end = TurnEnd(
            TurnStatus.COMPLETED, "refund", 0.7, "confirm", {"action": "confirm"}, "simple", usage=Usage(3, 4),
            overhead_micros=1200, event_seq=7, awaiting=awaiting, failures=2,
        )  # fmt: skip
        async with db.batch() as batch:
            store.end(batch, turn, end, at=clock.micros())
        stored = await store.find_turn("acme", turn.id)
        assert stored is not None
        assert (stored.status, stored.intent, stored.event_seq) == (TurnStatus.COMPLETED, "refund", 7)
        assert (stored.usage, stored.overhead_micros) == (Usage(3, 4), 1200)
        after = await store.require(ANA, conversation.id)
        assert (after.awaiting, after.failures) == (awaiting, 2)

    async def test_refuses_an_owner_that_lost_the_lease_and_changes_nothing(self, db: Database, clock: FrozenClock):
        store = ConversationStore(db)
        conversation = await added(store, db, a_conversation(clock))
        turn = await begun(store, db, a_turn(conversation, 1, clock))
        clock.advance(11)
        async with db.batch() as batch:
            LeaseStore(db).take_over(batch, turn, owner="other", lease_micros=LEASE)

        async def end() -> None:
            async with db.batch() as batch:
                store.add_message(batch, turn, 1, "assistant", "too late", "agent", at=clock.micros())
                store.end(batch, turn, TurnEnd(TurnStatus.COMPLETED), at=clock.micros())

        async def go_on() -> None:
            async with db.batch() as batch:
                store.still_mine(batch, turn, lease_micros=LEASE)

        with pytest.raises(Conflict):
            await end()
        with pytest.raises(Conflict):
            await go_on()
        stored = await store.find_turn("acme", turn.id)
        assert stored is not None
        assert (stored.status, stored.epoch) == (TurnStatus.RUNNING, 2)
        assert [each.role for each in await store.turn_messages("acme", turn.id)] == ["user"]


class TestQueue:
    async def test_a_waiting_turn_is_claimed_once_and_only_when_nothing_runs(self, db: Database, clock: FrozenClock):
        store = ConversationStore(db)
        conversation = await added(store, db, a_conversation(clock))
        first = await begun(store, db, a_turn(conversation, 1, clock))
        waiting = await begun(store, db, a_turn(conversation, 2, clock, TurnStatus.QUEUED))

        async def claim() -> None:
            async with db.batch() as batch:
                store.claim(batch, waiting, owner="me", lease_micros=LEASE, at=clock.micros())

        with pytest.raises(Conflict):
            await claim()
        async with db.batch() as batch:
            store.end(batch, first, TurnEnd(TurnStatus.COMPLETED), at=clock.micros())
        results = await asyncio.gather(claim(), claim(), claim(), return_exceptions=True)
        assert results.count(None) == 1
        stored = await store.find_turn("acme", waiting.id)
        assert stored is not None
        assert (stored.status, stored.epoch) == (TurnStatus.RUNNING, 1)


class TestToolCalls:
    async def test_a_result_is_stored_once(self, db: Database, clock: FrozenClock):
        store = ConversationStore(db)
        conversation = await added(store, db, a_conversation(clock))
        turn = await begun(store, db, a_turn(conversation, 1, clock))
        call = ToolCall(new_id("call"), "refund", '{"amount":5}', "p1")
        async with db.batch() as batch:
            store.add_call(batch, turn, call, effect="write", at=clock.micros())
        stored = await store.find_call("acme", call.id)
        assert stored is not None
        assert (stored.status, stored.result) == ("intent", None)
        result = ToolResult(call.id, "refund", '{"ok":true}')
        async with db.batch() as batch:
            store.end_call(batch, turn, result, at=clock.micros())
        with pytest.raises(Conflict):
            async with db.batch() as batch:
                store.end_call(batch, turn, ToolResult(call.id, "refund", '{"ok":false}'), at=clock.micros())
        stored = await store.find_call("acme", call.id)
        assert stored is not None
        assert (stored.status, stored.result) == ("completed", '{"ok":true}')

    async def test_the_transcript_pairs_calls_with_results_and_says_when_there_is_none(
        self, db: Database, clock: FrozenClock
    ):
        store = ConversationStore(db)
        conversation = await added(store, db, a_conversation(clock))
        turn = await begun(store, db, a_turn(conversation, 1, clock))
        done, lost = ToolCall("call_a", "a", "{}", "p1"), ToolCall("call_b", "b", "{}", "p2")
        async with db.batch() as batch:
            store.add_message(
                batch, turn, 1, "assistant", "let me see", "agent", at=clock.micros(), tool_calls=(done, lost)
            )
            store.add_call(
                batch, turn, done, effect="read", at=clock.micros(), result=ToolResult("call_a", "a", '{"n":1}')
            )
            store.add_message(batch, turn, 2, "assistant", "let me see\n\nit is 1", "agent", at=clock.micros())
        after = a_turn(conversation, 2, clock)
        calls = await store.conversation_calls("acme", conversation.id)
        messages = as_messages(await store.history(after, limit=10), calls)
        assert [(each.role, each.content, each.tool_call_id) for each in messages] == [
            ("user", "hello", None),
            ("assistant", "", None),
            ("tool", '{"n":1}', "p1"),
            ("tool", '{"error":{"code":"unknown","message":"this call has no recorded result"}}', "p2"),
            ("assistant", "let me see\n\nit is 1", None),
        ]


class TestIdempotency:
    async def test_a_key_finds_what_it_made_for_a_day(self, db: Database, clock: FrozenClock):
        store, scope = ConversationStore(db), IdempotencyScope("turns", "k1", b"body")
        async with db.batch() as batch:
            store.idempotency.remember(batch, ANA, scope, "turn_1", at=clock.micros())
        assert await store.idempotency.remembered(ANA, scope, at=clock.micros()) == "turn_1"
        clock.advance(24 * 3600 + 1)
        assert await store.idempotency.remembered(ANA, scope, at=clock.micros()) is None
        async with db.batch() as batch:
            store.idempotency.remember(batch, ANA, scope, "turn_2", at=clock.micros())
        assert await store.idempotency.remembered(ANA, scope, at=clock.micros()) == "turn_2"

    async def test_another_body_under_the_same_key_is_refused(self, db: Database, clock: FrozenClock):
        store = ConversationStore(db)
        async with db.batch() as batch:
            store.idempotency.remember(batch, ANA, IdempotencyScope("turns", "k1", b"one"), "turn_1", at=clock.micros())
        with pytest.raises(IdempotencyMismatch, match="another body"):
            await store.idempotency.remembered(ANA, IdempotencyScope("turns", "k1", b"two"), at=clock.micros())

    @pytest.mark.parametrize(
        ("who", "route"), [(Principal("acme", "bob"), "turns"), (Principal("evil", "ana"), "turns"), (ANA, "other")]
    )
    async def test_a_key_belongs_to_its_tenant_subject_and_route(
        self, db: Database, clock: FrozenClock, who: Principal, route: str
    ):
        store = ConversationStore(db)
        async with db.batch() as batch:
            store.idempotency.remember(batch, ANA, IdempotencyScope("turns", "k1", b"one"), "turn_1", at=clock.micros())
        assert await store.idempotency.remembered(who, IdempotencyScope(route, "k1", b"two"), at=clock.micros()) is None

    async def test_old_keys_are_swept(self, db: Database, clock: FrozenClock):
        store, scope = ConversationStore(db), IdempotencyScope("turns", "k1", b"body")
        async with db.batch() as batch:
            store.idempotency.remember(batch, ANA, scope, "turn_1", at=clock.micros())
        clock.advance(24 * 3600 + 1)
        await store.idempotency.sweep(at=clock.micros())
        async with db.batch() as batch:
            store.idempotency.remember(batch, ANA, scope, "turn_2", at=clock.micros())
        assert await store.idempotency.remembered(ANA, scope, at=clock.micros()) == "turn_2"


async def test_a_conversations_newest_messages_are_read_in_order(db: Database, clock: FrozenClock):
    store = ConversationStore(db)
    conversation = await added(store, db, a_conversation(clock))
    for seq in (1, 2):
        turn = await begun(store, db, a_turn(conversation, seq, clock), f"question {seq}")
        async with db.batch() as batch:
            store.add_message(batch, turn, 1, "assistant", f"answer {seq}", "agent", at=clock.micros())
            store.end(batch, turn, TurnEnd(TurnStatus.COMPLETED), at=clock.micros())
    conversation = await store.require(ANA, conversation.id)
    found = await store.messages(conversation, limit=3)
    assert [each.content for each in found] == ["answer 1", "question 2", "answer 2"]


async def test_conversations_are_listed_newest_first_in_pages_and_only_to_their_owner(db: Database, clock: FrozenClock):
    store = ConversationStore(db)
    mine = [await added(store, db, a_conversation(clock)) for _ in range(5)]
    await added(store, db, a_conversation(clock, Principal("acme", "bob")))
    first = await store.newest(ANA, limit=3)
    second = await store.newest(ANA, before=first[-1].id, limit=3)
    assert [each.id for each in (*first, *second)] == [each.id for each in reversed(mine)]
    assert len(await store.newest(ANA, everyone=True, limit=50)) == 6
