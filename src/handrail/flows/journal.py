"""What a tool call leaves in the transcript, and what the transcript says of calls that were made before."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from handrail.core import events
from handrail.core.messages import Message, ToolCall, ToolResult
from handrail.db import Batch
from handrail.flows import spans
from handrail.flows.audit import tool_call_begins, tool_call_ended
from handrail.flows.ledger import book
from handrail.flows.output import said
from handrail.flows.personal import keep
from handrail.flows.services import ActiveTurn, Services
from handrail.flows.shown import shown_arguments
from handrail.serving.conversations import StoredToolCall


def store_asked(services: Services, active: ActiveTurn, batch: Batch, asked: Message, position: int) -> None:
    """The model's message that asks for a round of tools, and what it used."""
    _fence(services, active, batch)
    book(services, active, batch, services.clock.micros())
    services.conversations.add_message(
        batch,
        active.turn,
        position,
        "assistant",
        said(active, asked.content),
        "agent",
        at=services.clock.micros(),
        tool_calls=asked.tool_calls,
    )


def store_results(
    services: Services, active: ActiveTurn, batch: Batch, calls: Sequence[ToolCall], results: Mapping[str, object]
) -> None:
    """Whole rows of calls that needed no intent: reads, and what was refused."""
    _fence(services, active, batch)
    for call in calls:
        result = results[call.id]
        assert isinstance(result, ToolResult)
        effect, at = "write" if active.writes(call) else "read", services.clock.micros()
        named = replace(call, name=known_name(active, call.name))
        services.conversations.add_call(batch, active.turn, named, effect=effect, at=at, result=result)


def known_name(active: ActiveTurn, name: str) -> str:
    """A tool's name; what a model made up may be anybody's words, which only a message may hold."""
    return name if name in active.release.tools else "unknown"


async def intend(services: Services, active: ActiveTurn, call: ToolCall) -> None:
    """The intent row of a write, stored before its effect."""
    active.begun[call.id] = call.name
    async with services.db.batch() as batch:
        _fence(services, active, batch)
        services.conversations.add_call(batch, active.turn, call, effect="write")
        tool_call_begins(services, active, batch, call)


async def end(services: Services, active: ActiveTurn, result: ToolResult) -> ToolResult:
    """The result row of a write whose intent is stored."""
    if result.status == "unknown":
        active.unknown.append(result.name)
    async with services.db.batch() as batch:
        _fence(services, active, batch)
        services.conversations.end_call(batch, active.turn, result, at=services.clock.micros())
        tool_call_ended(services, active, batch, result.tool_call_id, result.name, result.status)
    active.begun.pop(result.tool_call_id, None)
    # After the commit: what a client was told is done must not become unknown when this process dies here.
    completed(active, result)
    return result


def replayed(services: Services, active: ActiveTurn, call: ToolCall, recorded: StoredToolCall) -> ToolResult:
    """What an earlier owner of the turn was told."""
    result = ToolResult(
        call.id, call.name, recorded.result or "", recorded.outcome, call.provider_id, recorded.ladder, recorded.tripped
    )
    if result.status == "unknown":
        # Its owner died, or the turn parked, before people were asked about it.
        active.unknown.append(result.name)
    active.given.append(result.content)
    begins(services, active, call)
    completed(active, result)
    return result


def tell(services: Services, active: ActiveTurn, call: ToolCall, result: ToolResult) -> None:
    """A call that was not let through is shown and counted like any other."""
    begins(services, active, call)
    completed(active, result)
    spans.refused(active, call)
    services.metrics.tool_call(active.turn.agent, known_name(active, call.name), result.status)


def begins(services: Services, active: ActiveTurn, call: ToolCall) -> None:
    """Tell followers of a call; what no answer may hold is masked in its arguments too."""
    guardrails = [each.output_guardrail for each in active.protecting]
    arguments = shown_arguments(services.output_scanner, guardrails, call.arguments)
    name = known_name(active, call.name)
    active.stream.publish(events.TOOL_STARTED, {"id": call.id, "name": name, "arguments": arguments})


def completed(active: ActiveTurn, result: ToolResult) -> None:
    """Tell followers how a call ended."""
    name = known_name(active, result.name)
    data = events.tool_completed(result.tool_call_id, name, result.status, result.ladder)
    active.stream.publish(events.TOOL_COMPLETED, data)


def _fence(services: Services, active: ActiveTurn, batch: Batch) -> None:
    """In every batch of the turn: it must still be ours; and what it met of people's data is kept."""
    services.conversations.still_mine(batch, active.turn, lease_micros=services.limits.lease_micros)
    keep(services, active, batch)
