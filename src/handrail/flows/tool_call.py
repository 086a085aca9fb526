"""The story of one tool call: permission -> approval -> intent row (before the effect) -> ladder -> guardrails
-> result row.

Reads of one round run in parallel, writes one after another. A read needs no intent row: it may run again. A call that
an earlier owner of the turn has ended is not made again, and a write it had begun is settled, never repeated blindly.
"""

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import replace

from handrail.core.messages import Message, ToolCall, ToolResult
from handrail.flows import journal
from handrail.flows.gate import ApprovalPending, admitted
from handrail.flows.guardrails import labelled
from handrail.flows.ledger import booked
from handrail.flows.services import ActiveTurn, Services
from handrail.flows.settle import settled
from handrail.flows.spans import ToolSpan
from handrail.flows.tool_ladder import climb_down


async def call_tools(
    services: Services, active: ActiveTurn, asked: Message, calls: Sequence[ToolCall]
) -> list[ToolResult]:
    """One round the model asked for; results in the order of `calls`, and all of it in the transcript (commit c).

    Raises:
        ApprovalPending: some call waits for people; its siblings are done.
    """
    active.read = len(active.heard)
    reads = [call for call in calls if not active.writes(call)]
    writes = [call for call in calls if active.writes(call)]
    is_stored = any(call.id == each.id for message in active.rounds for each in message.tool_calls for call in calls)
    if not is_stored:
        active.position += 1
    if writes and not is_stored:
        async with services.db.batch() as batch:
            journal.store_asked(services, active, batch, asked, active.position)
        booked(active)
    outcomes = await asyncio.gather(*(_tried(active, call, _read(services, active, call)) for call in reads))
    done = dict(zip((call.id for call in reads), outcomes, strict=True))
    fresh = [call for call in reads if call.id not in active.journal and isinstance(done[call.id], ToolResult)]
    if fresh or not (writes or is_stored):
        async with services.db.batch() as batch:
            if not (writes or is_stored):
                journal.store_asked(services, active, batch, asked, active.position)
            journal.store_results(services, active, batch, fresh, done)
        booked(active)
    for call in writes:
        done[call.id] = await _tried(active, call, _write(services, active, call))
    return [_result_of(done[call.id]) for call in calls]


async def call_tool(
    services: Services, active: ActiveTurn, call: ToolCall, influenced: Sequence[str] = ()
) -> ToolResult:
    """One call a dialogue flow asked for, journaled the same way; raises `ApprovalPending` when it waits for people.

    `influenced` are the arguments that hang on text nobody vouches for.
    """
    active.of_flow[call.id] = influenced
    if active.writes(call):
        return active.hear(call, await _write(services, active, call))
    result = active.hear(call, await _read(services, active, call))
    if call.id not in active.journal:
        async with services.db.batch() as batch:
            journal.store_results(services, active, batch, [call], {call.id: result})
    return result


async def _read(services: Services, active: ActiveTurn, call: ToolCall) -> ToolResult:
    """A call without an effect: its recorded result, a refusal, or what the tool says now."""
    recorded = active.journal.get(call.id)
    if recorded is not None and recorded.result is not None:
        return journal.replayed(services, active, call, recorded)
    admission = await admitted(services, active, call)
    if isinstance(admission, ToolResult):
        journal.tell(services, active, call, admission)
        return admission
    journal.begins(services, active, call)
    result = await _run(services, active, admission)
    journal.completed(active, result)
    return result


async def _write(services: Services, active: ActiveTurn, call: ToolCall) -> ToolResult:
    """Intent row, effect, result row; only then is anybody told. A process that dies in between leaves an intent
    without a result: unknown."""
    recorded = active.journal.get(call.id)
    if recorded is not None and recorded.result is not None:
        return journal.replayed(services, active, call, recorded)
    if recorded is not None:
        begun = replace(call, arguments=recorded.arguments)
        journal.begins(services, active, begun)
        return await journal.end(services, active, await settled(services, active, begun, recorded, run=_run_again))
    admission = await admitted(services, active, call)
    if isinstance(admission, ToolResult):
        async with services.db.batch() as batch:
            journal.store_results(services, active, batch, [call], {call.id: admission})
        journal.tell(services, active, call, admission)
        return admission
    await journal.intend(services, active, admission)
    journal.begins(services, active, admission)
    return await journal.end(services, active, await _run(services, active, admission))


async def _tried(active: ActiveTurn, call: ToolCall, run: Awaitable[ToolResult]) -> "ToolResult | ApprovalPending":
    """A call of a round: one that waits for people does not keep its siblings."""
    try:
        return active.hear(call, await run)
    except ApprovalPending as pending:
        return pending


def _result_of(outcome: "ToolResult | ApprovalPending") -> ToolResult:
    if isinstance(outcome, ApprovalPending):
        raise outcome
    return outcome


async def _run_again(services: Services, active: ActiveTurn, call: ToolCall) -> ToolResult:
    """A write that an earlier process made too: only a success says what became of it."""
    return await _run(services, active, call, in_doubt=True)


async def _run(services: Services, active: ActiveTurn, call: ToolCall, *, in_doubt: bool = False) -> ToolResult:
    """The tool itself, or what stands in for it; whatever happens comes back as a result."""
    tool = active.release.tools[call.name]
    active.waits.enter()
    try:
        with ToolSpan(services, active, call) as span:
            result = await climb_down(services, active, tool, call, in_doubt=in_doubt)
            result = span.result = await labelled(services, active, result)
    finally:
        active.waits.leave()
    services.metrics.tool_call(active.turn.agent, call.name, result.status)
    return result
