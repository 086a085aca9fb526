"""What a turn notes of itself for its trace: its model calls, tool calls and decisions, each as it ends.

On the hot path: tuples are appended and nothing is awaited, read or rendered. Whatever a text says stays out, unless
the deployment keeps redacted texts; then they are noted here and redacted before they go anywhere.
"""

from collections.abc import Mapping, Sequence
from time import perf_counter
from types import TracebackType
from typing import Any

from handrail.core.errors import HandrailError
from handrail.core.messages import ToolCall, ToolResult
from handrail.core.models import ModelAnswer, ModelClient, ModelEvent
from handrail.flows.route import Route
from handrail.flows.services import ActiveTurn, Services
from handrail.insight.traces import FinishedTrace
from handrail.oversight.approvals import Approval
from handrail.protection.guardrails import Judgement
from handrail.serving.conversations import TurnEnd, TurnStatus

CANCELLED = "cancelled"


class ChatSpan:
    """One call of one model; `close` ends it, whatever came of it."""

    __slots__ = ("_active", "_began", "_client", "_error", "_first", "_number", "_rung")

    def __init__(self, active: ActiveTurn, client: ModelClient, rung: str) -> None:
        self._active = active
        self._client = client
        self._rung = rung
        self._number = active.trace.begin()
        self._first: float | None = None
        self._error: str | None = None
        self._began = perf_counter()

    @property
    def traceparent(self) -> str:
        return self._active.trace.traceparent(self._number)

    def first(self) -> None:
        """Something has come of the answer."""
        self._first = perf_counter()

    def failed(self, error: HandrailError) -> None:
        self._error = error.code

    def close(self, answer: ModelEvent | None) -> None:
        """It is over; `answer` is the last that came."""
        client, first = self._client, self._first
        attributes: dict[str, Any] = {"provider": client.provider, "model": client.model, "rung": self._rung}
        if first is not None:
            attributes["first_chunk_micros"] = int((first - self._began) * 1_000_000)
        if isinstance(answer, ModelAnswer):
            usage = answer.usage
            attributes |= {
                "response_model": answer.model,
                "finish_reason": answer.finish_reason,
                "input_tokens": usage.input_tokens,
                "output_tokens": usage.output_tokens,
                "cached_tokens": usage.cached_tokens,
                "cost_micros": answer.cost_micros,
            }
        elif self._error is None:
            self._error = CANCELLED
        self._active.trace.end(self._number, "chat", client.model, self._began, self._error, attributes)


class ToolSpan:
    """One tool call with all that stands in for it: the block in which it runs."""

    __slots__ = ("_active", "_began", "_call", "_keeps_texts", "_number", "result")

    def __init__(self, services: Services, active: ActiveTurn, call: ToolCall) -> None:
        self._active = active
        self._call = call
        self._keeps_texts = services.traces.has_content
        self.result: ToolResult | None = None

    def __enter__(self) -> "ToolSpan":
        trace = self._active.trace
        self._number = trace.open[self._call.id] = trace.begin()
        self._began = perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        trace, call, result = self._active.trace, self._call, self.result
        trace.open.pop(call.id, None)
        if result is None:
            code = error.code if isinstance(error, HandrailError) else CANCELLED
            trace.end(self._number, "execute_tool", call.name, self._began, code, {"call_id": call.id})
            return
        attributes: dict[str, Any] = {"call_id": call.id, "status": result.status}
        if result.ladder:
            attributes["ladder"] = result.ladder
            _of_ladder(self._active, result.ladder, self._number)
        failed = None if result.status == "completed" else f"tool_{result.status}"
        trace.end(self._number, "execute_tool", call.name, self._began, failed, attributes)
        if result.tripped:
            names = [str(each.get("guardrail", "")) for each in result.tripped]
            trace.event("guardrail", "tool", attributes={"tripped": names}, parent=self._number)
        if self._keeps_texts:
            trace.texts[self._number] = {"arguments": call.arguments, "result": result.content}


# What the rungs of a ladder below its first are called in a trace.
_RUNGS: Mapping[str, Any] = {"retry": "retry", "secondary": "fallback", "cached": "cache", "honest": "fallback"}


def _of_ladder(active: ActiveTurn, ladder: Sequence[Mapping[str, Any]], parent: int) -> None:
    for step in ladder:
        kind = _RUNGS.get(str(step.get("rung")))
        if kind is not None:
            active.trace.event(kind, str(step.get("source", "")), step.get("failed"), {"rung": step["rung"]}, parent)


def judged(active: ActiveTurn, began: float, ended: float) -> None:
    """What the input guardrails said of the message, and how long they took."""
    tripped = [str(each.get("guardrail", "")) for each in active.turn.tripped]
    attributes: dict[str, Any] = {"tripped": tripped} if tripped else {}
    active.trace.end(active.trace.begin(), "guardrail", "input", began, None, attributes, ended)


def routed(active: ActiveTurn, began: float, route: Route) -> None:
    """The route that was taken, and how long choosing it took."""
    attributes: dict[str, Any] = {"action": route.action, "intent": route.intent, "confidence": route.confidence}
    active.trace.end(active.trace.begin(), "route", route.action, began, None, attributes)


def refused(active: ActiveTurn, call: ToolCall) -> None:
    """A tool call that was not let through."""
    trace, name = active.trace, call.name if call.name in active.release.tools else "unknown"
    attributes = {"call_id": call.id, "status": "refused"}
    trace.end(trace.begin(), "execute_tool", name, perf_counter(), "tool_refused", attributes)


def asked(active: ActiveTurn, approval: Approval) -> None:
    """An approval that is waited for, or what came of it."""
    attributes: dict[str, Any] = {
        "approval_id": approval.id, "tool": approval.call.tool, "status": approval.status.value,
        "tool_call_id": approval.call.tool_call_id,
    }  # fmt: skip
    active.trace.event("approval", approval.call.tool, attributes=attributes)


def fell_back(active: ActiveTurn, kind: Any, model: str, code: str) -> None:
    """The same model is asked again (`retry`), or the next one (`fallback`)."""
    active.trace.event(kind, model, code)


def finish(
    services: Services,
    active: ActiveTurn,
    end: TurnEnd,
    *,
    seconds: float,
    judgement: Judgement,
    cost: int | None = None,
) -> None:
    """The turn has ended or parked here, and is stored: hand its trace over."""
    turn, trace = active.turn, active.trace
    if judgement.tripped:
        trace.event("guardrail", "output", attributes={"tripped": [each.guardrail for each in judgement.tripped]})
    if services.traces.has_content:
        trace.texts[0] = {"input": active.text, "output": active.stream.text}
    usage = end.usage
    services.traces.offer(
        FinishedTrace(
            trace=trace,
            tenant_id=turn.tenant_id,
            conversation_id=turn.conversation_id,
            turn_id=turn.id,
            epoch=turn.epoch,
            agent=turn.agent,
            release_id=turn.release_id,
            intent=end.intent,
            channel=active.conversation.channel,
            latency_class=end.latency_class,
            instructions_hash=active.release.instructions_hash,
            status=end.status.value,
            error_code=end.error_code,
            began=active.began,
            started_at=services.clock.micros() - int(seconds * 1_000_000),
            seconds=seconds,
            overhead_micros=end.overhead_micros,
            cost_micros=cost,
            is_notable=bool(
                end.tripped or end.escalation_id or turn.epoch > 1 or end.status is TurnStatus.REQUIRES_ACTION
            ),
            attributes={
                "action": end.action,
                "input_tokens": usage.input_tokens,
                "output_tokens": usage.output_tokens,
                "cost_micros": cost,
            },
        )
    )
