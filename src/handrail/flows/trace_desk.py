"""What those who look after the agent may read of how turns went. Looking is recorded."""

from collections.abc import Sequence
from typing import Any

from handrail.core.clock import iso
from handrail.core.errors import NotFound
from handrail.core.principal import Principal
from handrail.flows.services import Services
from handrail.insight.traces import Bar, StoredTrace, waterfall
from handrail.protection.audit import AuditEntry

Body = dict[str, Any]


async def traces_by_id(services: Services, principal: Principal, trace_id: str) -> list[Body]:
    """All turns of a trace; raises `NotFound` when none is kept."""
    found = await services.traces.store.of_trace(principal.tenant_id, trace_id)
    return _read(services, principal, found, f"trace:{trace_id}", f"there is no trace {trace_id!r}")


async def traces_of_turn(services: Services, principal: Principal, turn_id: str) -> list[Body]:
    """All stretches of a turn, oldest first; raises `NotFound` when none is kept."""
    found = await services.traces.store.of_turn(principal.tenant_id, turn_id)
    return _read(services, principal, found, f"turn:{turn_id}", f"there is no trace of a turn {turn_id!r}")


async def traces_of_conversation(services: Services, principal: Principal, conversation_id: str) -> list[Body]:
    """Those of a conversation, newest first; raises `NotFound` when there is no such conversation here."""
    await services.conversations.require(principal, conversation_id)
    found = await services.traces.store.of_conversation(principal.tenant_id, conversation_id)
    return _read(services, principal, found, f"conversation:{conversation_id}", None)


def _read(
    services: Services, principal: Principal, found: Sequence[StoredTrace], target: str, missing: str | None
) -> list[Body]:
    if not found and missing is not None:
        raise NotFound(f"{missing}; it may be older than what is kept, or left out by the sampling")
    services.audit.note(AuditEntry(principal.tenant_id, "trace.read", "done", target, principal))
    return [trace_body(each) for each in found]


def trace_body(trace: StoredTrace) -> Body:
    """As it stands in API answers: its spans as the rows of a waterfall."""
    return {
        "id": trace.id,
        "object": "trace",
        "trace_id": trace.trace_id,
        "parent_id": trace.parent_id,
        "link": {"trace_id": trace.link.trace_id, "span_id": trace.link.span_id} if trace.link else None,
        "conversation_id": trace.conversation_id,
        "turn_id": trace.turn_id,
        "epoch": trace.epoch,
        "agent": trace.agent,
        "release_id": trace.release_id,
        "intent": trace.intent,
        "variant": trace.variant,
        "channel": trace.channel,
        "latency_class": trace.latency_class,
        "instructions_hash": trace.instructions_hash,
        "status": trace.status,
        "error_code": trace.error_code,
        "started_at": iso(trace.started_at),
        "duration_micros": trace.duration_micros,
        "overhead_micros": trace.overhead_micros,
        "cost_micros": trace.cost_micros,
        "spans": [_span_body(bar, trace) for bar in waterfall(trace)],
    }


def _span_body(bar: Bar, trace: StoredTrace) -> Body:
    span = bar.span
    return {
        "title": bar.title,
        "kind": span.kind,
        "name": span.name,
        "depth": bar.depth,
        "started_micros": span.started_micros,
        "duration_micros": span.duration_micros,
        "error": span.error,
        "count": bar.count,
        "attributes": dict(span.attributes),
        "texts": dict(trace.content.get(span.number, {})) if bar.count == 1 else {},
    }
