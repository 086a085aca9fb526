"""Leases on both databases."""

import asyncio

import pytest

from handrail.core.clock import FrozenClock
from handrail.core.ids import new_id
from handrail.core.principal import Principal
from handrail.db import Conflict, Database
from handrail.serving.conversations import Conversation, ConversationStore, Turn, TurnEnd, TurnStatus
from handrail.serving.conversations.leases import LeaseStore, LeftWaiting

LEASE = 10_000_000
ANA = Principal("acme", "ana")


async def begun(db: Database, clock: FrozenClock, *statuses: TurnStatus, owner: str = "me") -> list[Turn]:
    """A conversation with turns of these statuses."""
    store, at = ConversationStore(db), clock.micros()
    conversation = Conversation(new_id("conv"), "acme", "ana", "shop", "rel_1", "api", 0, 0, None, at, at)
    async with db.batch() as batch:
        store.add(batch, conversation)
    turns: list[Turn] = []
    for seq, status in enumerate(statuses, start=1):
        epoch = 1 if status is TurnStatus.RUNNING else 0
        turns.append(Turn(new_id("turn"), "acme", conversation.id, seq, status, "shop", "rel_1", epoch, at))
        async with db.batch() as batch:
            store.begin(batch, turns[-1], "hello", owner=owner, lease_micros=LEASE)
    return turns


async def taken(db: Database, turn: Turn, owner: str, *, sole_owner: bool = False) -> None:
    async with db.batch() as batch:
        LeaseStore(db).take_over(batch, turn, owner=owner, lease_micros=LEASE, sole_owner=sole_owner)


async def test_a_lease_that_lives_is_not_taken_over(db: Database, clock: FrozenClock):
    (turn,) = await begun(db, clock, TurnStatus.RUNNING)
    clock.advance(9.9)
    assert await LeaseStore(db).expired() == []
    with pytest.raises(Conflict):
        await taken(db, turn, "other")


async def test_a_renewed_lease_lives_on_and_only_the_owners(db: Database, clock: FrozenClock):
    (mine,) = await begun(db, clock, TurnStatus.RUNNING)
    (theirs,) = await begun(db, clock, TurnStatus.RUNNING, owner="other")
    clock.advance(8)
    await LeaseStore(db).renew("me", [mine.id, theirs.id], lease_micros=LEASE)
    clock.advance(5)
    assert [turn.id for turn in await LeaseStore(db).expired()] == [theirs.id]
    with pytest.raises(Conflict):
        await taken(db, mine, "other")


async def test_of_many_that_want_an_expired_turn_one_gets_it_and_the_old_owner_is_fenced(
    db: Database, clock: FrozenClock
):
    (turn,) = await begun(db, clock, TurnStatus.RUNNING)
    clock.advance(11)
    results = await asyncio.gather(*(taken(db, turn, f"other {n}") for n in range(20)), return_exceptions=True)
    assert results.count(None) == 1
    store = ConversationStore(db)
    stored = await store.find_turn("acme", turn.id)
    assert stored is not None
    assert stored.epoch == 2

    async def late() -> None:
        async with db.batch() as batch:
            store.end(batch, turn, TurnEnd(TurnStatus.COMPLETED), at=clock.micros())

    with pytest.raises(Conflict):
        await late()


async def test_the_sole_owner_of_a_database_need_not_wait(db: Database, clock: FrozenClock):
    (turn,) = await begun(db, clock, TurnStatus.RUNNING, owner="dead")
    assert [each.id for each in await LeaseStore(db).of_others("me")] == [turn.id]
    await taken(db, turn, "me", sole_owner=True)
    assert await LeaseStore(db).of_others("me") == []


async def test_a_conversation_whose_next_turn_nobody_started_is_found(db: Database, clock: FrozenClock):
    running, _ = await begun(db, clock, TurnStatus.RUNNING, TurnStatus.QUEUED)
    assert await LeaseStore(db).left_waiting() == []
    async with db.batch() as batch:
        ConversationStore(db).end(batch, running, TurnEnd(TurnStatus.COMPLETED), at=clock.micros())
    assert await LeaseStore(db).left_waiting() == [LeftWaiting("acme", running.conversation_id)]


async def test_a_parked_turn_goes_on_once_and_only_when_nothing_else_runs(db: Database, clock: FrozenClock):
    parked, waiting = await begun(db, clock, TurnStatus.RUNNING, TurnStatus.QUEUED)
    store, leases = ConversationStore(db), LeaseStore(db)
    async with db.batch() as batch:
        store.end(batch, parked, TurnEnd(TurnStatus.REQUIRES_ACTION), at=clock.micros())

    async def go_on() -> None:
        async with db.batch() as batch:
            leases.go_on(batch, parked, owner="me", lease_micros=LEASE)

    async with db.batch() as batch:
        store.claim(batch, waiting, owner="me", lease_micros=LEASE, at=clock.micros())
    with pytest.raises(Conflict):
        await go_on()
    claimed = await store.find_turn("acme", waiting.id)
    assert claimed is not None
    async with db.batch() as batch:
        store.end(batch, claimed, TurnEnd(TurnStatus.COMPLETED), at=clock.micros())
    results = await asyncio.gather(go_on(), go_on(), go_on(), return_exceptions=True)
    assert results.count(None) == 1
