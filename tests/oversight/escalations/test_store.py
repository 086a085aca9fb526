from dataclasses import dataclass, replace

import pytest
from sqlalchemy import insert

from handrail.core.answers import Handoff
from handrail.core.clock import FrozenClock
from handrail.db import Conflict, Database, Prepared, metadata
from handrail.oversight.escalations import Escalation, EscalationStatus, EscalationStore


@dataclass(frozen=True)
class Turn:
    id: str = "turn_1"
    tenant_id: str = "acme"
    conversation_id: str = "conv_1"
    agent: str = "shop"


@pytest.fixture
async def store(db: Database) -> EscalationStore:
    """With a conversation and a turn in place, which escalations refer to."""
    import handrail.serving.conversations.tables  # noqa: F401 - declares them

    conversation, turn = metadata.tables["conversation"], metadata.tables["turn"]
    async with db.batch() as batch:
        for tenant in ("acme", "other"):
            number = "1" if tenant == "acme" else "2"
            batch.add(
                Prepared(
                    insert(conversation).values(
                        id=f"conv_{number}", tenant_id=tenant, subject="ann", agent="shop", release_id="rel_1",
                        channel="api", turn_count=1, failures=0, created_at=0, updated_at=0,
                    )
                ),
                {},
            )  # fmt: skip
            batch.add(
                Prepared(
                    insert(turn).values(
                        id=f"turn_{number}", tenant_id=tenant, conversation_id=f"conv_{number}", seq=1,
                        status="running", agent="shop", release_id="rel_1", epoch=1, event_seq=0, created_at=0,
                    )
                ),
                {},
            )  # fmt: skip
    return EscalationStore(db)


async def _open(db: Database, store: EscalationStore, escalation: Escalation) -> Escalation:
    async with db.batch() as batch:
        store.open(batch, escalation)
    return escalation


def _escalation(clock: FrozenClock, turn: Turn | None = None, **changes: object) -> Escalation:
    handoff = Handoff("the user asked for a person", "billing")
    made = Escalation.of(turn or Turn(), handoff, {"intent": "refund", "last_messages": ["hé"]}, clock.micros())
    return replace(made, **changes)  # type: ignore[arg-type]


class TestOpen:
    async def test_stores_the_handoff_as_it_was(self, db: Database, store: EscalationStore, clock: FrozenClock) -> None:
        opened = await _open(db, store, _escalation(clock))

        assert await store.find("acme", opened.id) == opened
        assert (opened.status, opened.team, opened.agent) == (EscalationStatus.OPEN, "billing", "shop")

    async def test_of_a_turn_that_does_not_exist_is_refused(
        self, db: Database, store: EscalationStore, clock: FrozenClock
    ) -> None:
        with pytest.raises(Conflict, match="refers to nothing"):
            await _open(db, store, _escalation(clock, Turn(id="turn_9")))


class TestFind:
    async def test_does_not_see_another_tenants(self, db: Database, store: EscalationStore, clock: FrozenClock) -> None:
        opened = await _open(db, store, _escalation(clock))

        assert await store.find("other", opened.id) is None


class TestList:
    async def test_shows_the_tenants_newest_first_in_pages(
        self, db: Database, store: EscalationStore, clock: FrozenClock
    ) -> None:
        first, second, third = [await _open(db, store, _escalation(clock)) for _ in range(3)]
        await _open(db, store, _escalation(clock, Turn("turn_2", "other", "conv_2")))

        page = await store.list("acme", limit=2)
        rest = await store.list("acme", limit=2, before=page[-1].id)

        assert ([*page], [*rest]) == ([third, second], [first])

    async def test_can_be_narrowed_to_a_status(self, db: Database, store: EscalationStore, clock: FrozenClock) -> None:
        waiting = await _open(db, store, _escalation(clock))
        done = await _open(db, store, _escalation(clock, status=EscalationStatus.RESOLVED))

        assert list(await store.list("acme", EscalationStatus.OPEN)) == [waiting]
        assert list(await store.list("acme", EscalationStatus.RESOLVED)) == [done]
        assert list(await store.list("acme", EscalationStatus.ASSIGNED)) == []


class TestBody:
    def test_is_what_the_api_shows(self, clock: FrozenClock) -> None:
        opened = _escalation(clock, id="esc_1")

        assert opened.body() == {
            "id": "esc_1",
            "object": "escalation",
            "conversation_id": "conv_1",
            "turn_id": "turn_1",
            "agent": "shop",
            "reason": "the user asked for a person",
            "team": "billing",
            "summary": {"intent": "refund", "last_messages": ["hé"]},
            "status": "open",
            "created_at": "2026-01-01T00:00:00.000Z",
            "updated_at": "2026-01-01T00:00:00.000Z",
        }
