"""SQL for traces."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, insert

from handrail.core import json
from handrail.core.ids import new_id
from handrail.db import Batch, Database, Prepared, Row, scoped
from handrail.insight.traces.recording import FinishedTrace, Span, SpanLink
from handrail.insight.traces.tables import trace

MOST_OF_A_TRACE = 100
MOST_OF_A_CONVERSATION = 200

_ADD = Prepared(insert(trace))
_BY_TRACE = Prepared(
    scoped(trace)
    .where(trace.c.trace_id == bindparam("trace_id"))
    .order_by(trace.c.started_at, trace.c.id)
    .limit(MOST_OF_A_TRACE)
)
_BY_TURN = Prepared(
    scoped(trace)
    .where(trace.c.turn_id == bindparam("turn_id"))
    .order_by(trace.c.epoch, trace.c.started_at, trace.c.id)
    .limit(MOST_OF_A_TRACE)
)
_BY_CONVERSATION = Prepared(
    scoped(trace)
    .where(trace.c.conversation_id == bindparam("conversation_id"))
    .order_by(trace.c.started_at.desc(), trace.c.id.desc())
    .limit(MOST_OF_A_CONVERSATION)
)


@dataclass(frozen=True, slots=True)
class StoredTrace:
    """One stretch of a turn: from its beginning, or from where it went on, to its end or to where it stopped.

    `content` is by number of span, redacted; empty where the deployment keeps none.
    """

    id: str
    trace_id: str
    conversation_id: str
    turn_id: str
    epoch: int
    agent: str
    release_id: str
    intent: str | None
    variant: str | None
    channel: str
    latency_class: str | None
    instructions_hash: str
    status: str
    error_code: str | None
    started_at: int
    duration_micros: int
    overhead_micros: int
    cost_micros: int | None
    parent_id: str | None
    link: SpanLink | None
    spans: Sequence[Span]
    content: Mapping[int, Mapping[str, str]]

    @classmethod
    def of(cls, row: Row) -> "StoredTrace":
        link, content = row["link"], row["content"]
        return cls(
            **{name: row[name] for name in _PLAIN},
            link=SpanLink(*link.split("-")) if link else None,
            spans=[Span.of(each) for each in json.loads(row["spans"])],
            content={int(number): texts for number, texts in json.loads(content).items()} if content else {},
        )


_PLAIN = (
    "id", "trace_id", "conversation_id", "turn_id", "epoch", "agent", "release_id", "intent", "variant", "channel",
    "latency_class", "instructions_hash", "status", "error_code", "started_at", "duration_micros", "overhead_micros",
    "cost_micros", "parent_id",
)  # fmt: skip


class TraceStore:
    """The table of traces."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def add(self, batch: Batch, finished: FinishedTrace, content: Mapping[int, Mapping[str, str]] | None) -> None:
        """Append one; `content` is redacted already."""
        batch.add(_ADD, _row(finished, content))

    async def of_trace(self, tenant_id: str, trace_id: str) -> Sequence[StoredTrace]:
        """All stretches of turns that belong to a trace, oldest first."""
        return await self._read(_BY_TRACE, {"tenant_id": tenant_id, "trace_id": trace_id})

    async def of_turn(self, tenant_id: str, turn_id: str) -> Sequence[StoredTrace]:
        """All stretches of one turn, oldest first; several when it waited for people or changed its process."""
        return await self._read(_BY_TURN, {"tenant_id": tenant_id, "turn_id": turn_id})

    async def of_conversation(self, tenant_id: str, conversation_id: str) -> Sequence[StoredTrace]:
        """Those of a conversation, newest first."""
        return await self._read(_BY_CONVERSATION, {"tenant_id": tenant_id, "conversation_id": conversation_id})

    async def _read(self, statement: Prepared, parameters: Mapping[str, Any]) -> Sequence[StoredTrace]:
        return [StoredTrace.of(row) for row in await self._db.scan(statement, parameters)]


def _row(finished: FinishedTrace, content: Mapping[int, Mapping[str, str]] | None) -> dict[str, Any]:
    trace = finished.trace
    return {
        "id": new_id("trace"),
        "tenant_id": finished.tenant_id,
        "trace_id": trace.context.trace_id,
        "conversation_id": finished.conversation_id,
        "turn_id": finished.turn_id,
        "epoch": finished.epoch,
        "agent": finished.agent,
        "release_id": finished.release_id,
        "intent": finished.intent,
        "variant": finished.variant,
        "channel": finished.channel,
        "latency_class": finished.latency_class,
        "instructions_hash": finished.instructions_hash,
        "status": finished.status,
        "error_code": finished.error_code,
        "started_at": finished.started_at,
        "duration_micros": int(finished.seconds * 1_000_000),
        "overhead_micros": finished.overhead_micros,
        "cost_micros": finished.cost_micros,
        "parent_id": trace.context.parent_id,
        "link": f"{trace.link.trace_id}-{trace.link.span_id}" if trace.link else None,
        "spans": json.dumps([each.stored() for each in finished.spans()]),
        "content": json.dumps({str(number): texts for number, texts in content.items()}) if content else None,
    }
