"""Traces for tests: a turn of a second, with what a test puts into it."""

from typing import Any

from handrail.insight.traces import FinishedTrace, Span, TurnTrace, root_span_id
from handrail.telemetry.trace import TraceContext

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER = "00f067aa0ba902b7"


def turn_trace(turn_id: str = "turn_1") -> TurnTrace:
    return TurnTrace(TraceContext(TRACE, CALLER), root_span_id(turn_id, 1))


def finished(trace: TurnTrace | None = None, **other: Any) -> FinishedTrace:
    given: dict[str, Any] = {
        "trace": trace or turn_trace(),
        "tenant_id": "default",
        "conversation_id": "conv_1",
        "turn_id": "turn_1",
        "epoch": 1,
        "agent": "shop",
        "release_id": "rel_1",
        "intent": "refund",
        "channel": "api",
        "latency_class": "simple",
        "instructions_hash": "abc",
        "status": "completed",
        "error_code": None,
        "began": 100.0,
        "started_at": 1_700_000_000_000_000,
        "seconds": 1.0,
        "overhead_micros": 900,
    }
    return FinishedTrace(**given | other)


def span(
    number: int, parent: int = 0, *, name: str = "x", start: int = 0, length: int | None = 10, **other: Any
) -> Span:
    return Span(number, parent, other.pop("kind", "execute_tool"), name, start, length, **other)
