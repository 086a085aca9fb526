"""Conversations with words in them, written straight into the tables and read into the index."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import insert, select

from handrail.core.ids import new_id
from handrail.core.principal import Principal, Role
from handrail.db import Prepared
from handrail.flows.indexing import Indexer
from handrail.flows.rollup import catch_up
from handrail.flows.search import Found, search_identifier, search_words
from handrail.flows.services import Services
from handrail.insight.scorecard import DEFAULT_WINDOW_MICROS, Transcript
from handrail.insight.search.store import QUIET_MICROS
from handrail.reports.conversations import ConversationFilters
from handrail.serving.conversations.tables import conversation, message, turn

STAFF = Principal("default", "vera", frozenset({Role.VIEWER}))
ADMIN = Principal("default", "root", frozenset({Role.ADMIN}))
_CONVERSATION, _TURN, _MESSAGE = (Prepared(insert(each)) for each in (conversation, turn, message))

_THERE = Prepared(select(conversation.c.id, conversation.c.tenant_id))


async def read_all(services: Services) -> None:
    """All that is there is counted and goes into the index now, however short ago it was said."""
    await catch_up(services, window)
    rows = await services.db.scan(_THERE, {})
    async with services.db.batch() as batch:
        services.search.changed(batch, {row["id"]: row["tenant_id"] for row in rows}, at=0)
    await Indexer(services).catch_up()


async def window(_: Transcript) -> int:
    return DEFAULT_WINDOW_MICROS


@dataclass
class Spoken:
    """Writes what was said and reads it into the index, with a clock that a test moves."""

    services: Services
    clock: Any
    tenant_id: str = "default"

    async def conversation(self, subject: str, *texts: str, tenant_id: str | None = None, **more: Any) -> str:
        """A conversation of turns in which the user says one of the texts and the agent the next."""
        tenant, at, name = tenant_id or self.tenant_id, self.clock.micros(), new_id("conv")
        self.clock.advance(0.001)
        pairs = [texts[place : place + 2] for place in range(0, len(texts), 2)]
        row = {
            "id": name, "tenant_id": tenant, "subject": subject, "agent": "shop", "release_id": "rel_1",
            "channel": "api", "title": None, "turn_count": len(pairs), "failures": 0, "awaiting": None,
            "created_at": at, "updated_at": at,
        } | more  # fmt: skip
        async with self.services.db.batch() as batch:
            batch.add(_CONVERSATION, row)
        for seq, said in enumerate(pairs, start=1):
            await self.turn(name, seq, said, tenant)
        return name

    async def turn(self, conversation_id: str, seq: int, said: tuple[str, ...], tenant_id: str = "default") -> None:
        """One more turn of it."""
        at, turn_id = self.clock.micros(), new_id("turn")
        row = dict.fromkeys(turn.c.keys()) | {
            "id": turn_id, "tenant_id": tenant_id, "conversation_id": conversation_id, "seq": seq, "epoch": 1,
            "status": "completed", "agent": "shop", "release_id": "rel_1", "event_seq": 0, "intent": "refund",
            "action": "execute", "latency_class": "simple", "created_at": at, "started_at": at, "ended_at": at,
        }  # fmt: skip
        async with self.services.db.batch() as batch:
            batch.add(_TURN, row)
            for position, text in enumerate(said, start=1):
                role = ("user", "assistant")[position - 1]
                values = {"role": role, "provenance": role, "content": text, "tool_calls": None, "sources": None}
                place = {"turn_id": turn_id, "turn_seq": seq, "position": position, "created_at": at}
                key = {"id": new_id("msg"), "tenant_id": tenant_id, "conversation_id": conversation_id}
                batch.add(_MESSAGE, key | place | values)
            self.services.facts.changed(batch, tenant_id, conversation_id, at=at)

    async def indexed(self) -> int:
        """Count and read all that waits, once it was quiet for long enough."""
        await catch_up(self.services, window)
        self.clock.advance(QUIET_MICROS / 1e6 + 1)
        return await self.indexed_now()

    async def indexed_now(self) -> int:
        """Count, and read what may be read by now."""
        await catch_up(self.services, window)
        indexer, total = Indexer(self.services), 0
        while found := await indexer.catch_up():
            total += found
        return total

    def filters(self, **more: Any) -> ConversationFilters:
        return ConversationFilters(self.tenant_id, **more)

    async def search(self, text: str, reader: Principal = STAFF, **more: Any) -> Found:
        return await search_words(self.services, reader, more.pop("filters", self.filters()), text, **more)

    async def search_for(self, value: str, reader: Principal = ADMIN, **more: Any) -> Found:
        return await search_identifier(self.services, reader, self.filters(), value, **more)


def ids(found: Found) -> list[str]:
    return [each.conversation_id for each in found.hits]


def shown(found: Found) -> str:
    """The first hit's text, what is found in it between square brackets."""
    return "".join(f"[{part.text}]" if part.is_found else part.text for part in found.hits[0].parts)
