"""What it costs that a tool call is durable: the rows of one call, written as the turn writes them."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from handrail.core.clock import SystemClock
from handrail.core.ids import new_id
from handrail.core.messages import ToolCall, ToolResult
from handrail.db import Database
from handrail.db.open import open_database
from handrail.serving.conversations import Conversation, ConversationStore, Turn, TurnStatus

CALLS = 150
LEASE_MICROS = 15_000_000


@dataclass(frozen=True, slots=True)
class DurableCost:
    """Milliseconds a tool call, at one caller: nothing to share a commit with."""

    cpu_ms: float
    wall_ms: float


async def durable_costs(database: Path) -> Mapping[str, DurableCost]:
    """By kind of call: a read stores its result, a write its intent before the effect and its result after it."""
    db = await open_database(f"sqlite:///{database}", SystemClock())
    try:
        journal = _Journal(db)
        await journal.begin_turn()
        return {"read": await _measured(journal.read), "write": await _measured(journal.write)}
    finally:
        await db.close()


async def _measured(call: Callable[[], Awaitable[None]]) -> DurableCost:
    for _ in range(CALLS // 10):
        await call()
    cpu, wall = time.process_time(), time.perf_counter()
    for _ in range(CALLS):
        await call()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return DurableCost(1000 * cpu / CALLS, 1000 * wall / CALLS)


class _Journal:
    """The batches of `flows/journal.py`."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._clock = SystemClock()
        self._store = ConversationStore(db)

    async def begin_turn(self) -> None:
        at = self._clock.micros()
        conversation = Conversation(new_id("conv"), "default", "bench", "bench", "rel_bench", "api", 0, 0, None, at, at)
        self._turn = Turn(
            id=new_id("turn"), tenant_id="default", conversation_id=conversation.id, seq=1,
            status=TurnStatus.RUNNING, agent="bench", release_id="rel_bench", epoch=1, created_at=at,
        )  # fmt: skip
        async with self._db.batch() as batch:
            self._store.add(batch, conversation)
            self._store.begin(batch, self._turn, "Where is A100001?", owner="bench", lease_micros=LEASE_MICROS)

    async def read(self) -> None:
        call, at = self._call(), self._clock.micros()
        async with self._db.batch() as batch:
            self._store.still_mine(batch, self._turn, lease_micros=LEASE_MICROS)
            self._store.add_call(batch, self._turn, call, effect="read", at=at, result=_result(call))

    async def write(self) -> None:
        call, at = self._call(), self._clock.micros()
        async with self._db.batch() as batch:
            self._store.still_mine(batch, self._turn, lease_micros=LEASE_MICROS)
            self._store.add_call(batch, self._turn, call, effect="write", at=at)
        async with self._db.batch() as batch:
            self._store.still_mine(batch, self._turn, lease_micros=LEASE_MICROS)
            self._store.end_call(batch, self._turn, _result(call), at=at)

    def _call(self) -> ToolCall:
        return ToolCall(new_id("call"), "lookup_order", '{"order_id":"A100001"}', "call_provider")


def _result(call: ToolCall) -> ToolResult:
    return ToolResult(call.id, call.name, '{"order_id":"A100001","state":"handed_to_carrier"}')
