"""Commit (d): the answer, how the turn ended, what it used, and who takes over, in one batch; then the last events."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from handrail.core import events
from handrail.core.answers import Outcome
from handrail.core.usage import Used
from handrail.db import Batch, StoreUnavailable
from handrail.flows import spans
from handrail.flows.audit import tool_call_ended
from handrail.flows.boundary import provenance_of_answer
from handrail.flows.ledger import book, booked, used
from handrail.flows.notify import case_opened
from handrail.flows.output import count_output, record_tripped, tripped
from handrail.flows.personal import keep
from handrail.flows.route import Route
from handrail.flows.services import ActiveTurn, Services
from handrail.oversight.escalations import Attempt, Escalation, customer_word, summarise
from handrail.protection.guardrails import Judgement
from handrail.serving.conversations import TurnEnd, TurnStatus, stored_turn_body, turn_body

LAST_EVENTS = 2
_ENDINGS = {
    TurnStatus.COMPLETED: events.COMPLETED,
    TurnStatus.REQUIRES_ACTION: events.REQUIRES_ACTION,
    TurnStatus.FAILED: events.FAILED,
    TurnStatus.CANCELLED: events.CANCELLED,
}


async def record(services: Services, active: ActiveTurn, route: Route, outcome: Outcome) -> None:
    """Store the turn as it ended and tell its followers."""
    failed = outcome.result == "failed"
    status = TurnStatus.FAILED if failed else TurnStatus.COMPLETED
    error = (outcome.error_code or "agent_failed", active.stream.text) if failed else None
    await _record(services, active, route, outcome, status, error)


async def record_early_end(
    services: Services, active: ActiveTurn, route: Route | None, status: TurnStatus, code: str, message: str
) -> None:
    """Store a turn that was stopped or failed: what was said stays, and a word about the end follows it."""
    handoff = active.unsettled()
    if message and handoff:
        message = f"{message} {customer_word(handoff, message=active.release.config.handoff.message)}"
    if message:
        active.stream.say(f"\n\n{message}" if active.stream.text else message)
    # A turn that never ran has used up nothing of what the conversation waits for.
    awaiting = active.conversation.awaiting if active.turn.status is TurnStatus.QUEUED else None
    outcome = Outcome("failed", awaiting, handoff, error_code=code)
    await _record(services, active, route, outcome, status, (code, message or active.stream.text))


async def record_parked(services: Services, active: ActiveTurn, route: Route | None, parked: Mapping[str, Any]) -> None:
    """Store a turn that waits for people; `parked` is what begins it again, and which approvals it waits for."""
    outcome = Outcome("asked", handoff=active.unsettled())
    await _record(services, active, route, outcome, TurnStatus.REQUIRES_ACTION, None, parked)


async def show_stored_end(services: Services, active: ActiveTurn) -> bool:
    """Whether the turn has ended without us, which a process that lost its lease finds out here; then the client is
    shown the end that is stored."""
    try:
        turn = await services.conversations.find_turn(active.turn.tenant_id, active.turn.id)
        messages = await services.conversations.turn_messages(active.turn.tenant_id, active.turn.id)
    except StoreUnavailable:
        return False
    if turn is None or turn.status not in _ENDINGS:
        return False
    said = next((each for each in reversed(messages) if each.role == "assistant" and not each.tool_calls), None)
    active.stream.publish(events.MESSAGE_RESTARTED, {"text": said.content if said else ""})
    active.stream.finish(_ENDINGS[turn.status], stored_turn_body(turn, said))
    return True


@dataclass(frozen=True, slots=True)
class _Ended:
    """How a turn ended, before it is stored."""

    end: TurnEnd
    outcome: Outcome
    escalation: Escalation | None
    judgement: Judgement
    at: int


async def _record(
    services: Services,
    active: ActiveTurn,
    route: Route | None,
    outcome: Outcome,
    status: TurnStatus,
    error: tuple[str, str] | None,
    parked: Mapping[str, Any] | None = None,
) -> None:
    turn, at = active.turn, services.clock.micros()
    active.stream.flush()
    spent, judgement = used(active), tripped(active)
    escalation = await _escalation(services, active, route, outcome, at)
    end = TurnEnd(
        status=status,
        intent=route.intent if route else None,
        confidence=route.confidence if route else None,
        action=route.action if route else None,
        route=route.public() if route else None,
        latency_class=route.latency_class if route else None,
        error_code=error[0] if error else None,
        error_message=error[1] if error else None,
        usage=spent.usage,
        cost_micros=spent.cost_micros,
        overhead_micros=int((time.perf_counter() - active.began - active.waits.total) * 1_000_000),
        event_seq=active.stream.seq + LAST_EVENTS,
        awaiting=outcome.awaiting,
        failures=route.failures if route else active.conversation.failures,
        escalation_id=escalation.id if escalation else turn.escalation_id,
        parked=parked,
        ladder=active.ladder,
        tripped=[*turn.tripped, *judgement.stored()],
    )
    ended = _Ended(end, outcome, escalation, judgement, at)
    async with services.db.batch() as batch:
        _store(services, active, batch, ended)
    booked(active)
    count_output(services, active, judgement)
    _tell(active, ended)
    _measure(services, active, ended)


def _store(services: Services, active: ActiveTurn, batch: Batch, ended: _Ended) -> None:
    turn, at = active.turn, ended.at
    services.conversations.end(batch, turn, ended.end, at=at)
    sources = ended.outcome.sources
    services.conversations.add_message(
        batch, turn, active.position + 1, "assistant", active.stream.text, provenance_of_answer(active, sources),
        at=at, message_id=active.message_id, sources=sources,
    )  # fmt: skip
    keep(services, active, batch)
    if active.begun:
        services.conversations.end_calls_unknown(batch, turn, at=at)
        for call_id, name in active.begun.items():
            tool_call_ended(services, active, batch, call_id, name, "unknown")
    book(services, active, batch, at)
    if ended.escalation:
        services.escalations.open(batch, ended.escalation)
        case_opened(services, batch, ended.escalation)
    if ended.judgement.tripped:
        record_tripped(services, active, batch, ended.judgement)
    services.facts.changed(batch, turn.tenant_id, turn.conversation_id, at=at)


def _tell(active: ActiveTurn, ended: _Ended) -> None:
    """The last events of the stream."""
    stream, end, sources = active.stream, ended.end, ended.outcome.sources
    if stream.is_over:
        return
    error = (end.error_code, end.error_message or "") if end.error_code else None
    body = turn_body(
        active.turn, status=end.status.value, message_id=active.message_id, content=stream.text, route=end.route,
        usage=Used(end.usage, end.cost_micros), overhead_micros=end.overhead_micros, sources=sources, error=error,
        awaiting=end.awaiting.kind if end.awaiting else None, escalation_id=end.escalation_id,
        approvals=end.parked["approvals"] if end.parked else (), ladder=end.ladder,
    )  # fmt: skip
    content = {"id": active.message_id, "content": stream.text, "sources": list(sources)}
    stream.publish(events.MESSAGE_COMPLETED, content)
    stream.finish(_ENDINGS[end.status], body)


def _measure(services: Services, active: ActiveTurn, ended: _Ended) -> None:
    end, stream = ended.end, active.stream
    seconds = time.perf_counter() - active.began
    services.metrics.turn(
        active.turn.agent,
        end.intent,
        end.latency_class,
        seconds,
        end.overhead_micros / 1e6,
        end.error_code,
        stream.said_at - active.began if stream.said_at is not None else None,
    )
    spans.finish(services, active, end, seconds=seconds, judgement=ended.judgement, cost=_cost(active))


def _cost(active: ActiveTurn) -> int | None:
    """Of all calls of this stretch of the turn; None when that of one is not known."""
    costs = [call.cost_micros for call in active.calls]
    return None if None in costs else sum(cost for cost in costs if cost is not None)


async def _escalation(
    services: Services, active: ActiveTurn, route: Route | None, outcome: Outcome, at: int
) -> Escalation | None:
    """The case for the people who take over, with what the user said and what was tried."""
    handoff, turn = outcome.handoff, active.turn
    if handoff is None:
        return None
    history = await services.conversations.history(turn, limit=20)
    calls = await services.conversations.turn_calls(turn.tenant_id, turn.id)
    summary = summarise(
        intent=route.intent if route else None,
        text=active.text,
        reason=handoff.reason,
        earlier=[message.content for message in history if message.role == "user"],
        attempts=[Attempt(call.name, call.status) for call in calls],
    )
    services.metrics.escalation(turn.agent, handoff.team)
    return Escalation.of(turn, handoff, summary, at)
