"""The story of one tool call: permission -> intent row (before the effect) -> run -> result row.

Reads of one round run in parallel, writes one after another. A read needs no intent row: it may run again. A call that
an earlier owner of the turn has ended is not made again, and a write it had begun is settled, never repeated blindly.
"""

import asyncio
from collections.abc import Sequence

from handrail.core import events, json
from handrail.core.messages import Message, ToolCall, ToolResult
from handrail.core.tools import Tool
from handrail.db import Batch
from handrail.flows.services import ActiveTurn, Services
from handrail.flows.settle import settled
from handrail.protection.auth import decide_tool


async def call_tools(
    services: Services, active: ActiveTurn, asked: Message, calls: Sequence[ToolCall]
) -> list[ToolResult]:
    """One round the model asked for; results in the order of `calls`, and all of it in the transcript (commit c)."""
    reads = [call for call in calls if not _writes(active, call)]
    writes = [call for call in calls if _writes(active, call)]
    is_stored = any(call.id in {each.id for each in message.tool_calls} for message in active.rounds for call in calls)
    if not is_stored:
        active.position += 1
    position = active.position
    if writes and not is_stored:
        async with services.db.batch() as batch:
            _store_asked(services, active, batch, asked, position)
    done = await asyncio.gather(*(_once(services, active, call) for call in reads))
    results = {result.tool_call_id: result for result in done}
    for call in writes:
        results[call.id] = await _write_once(services, active, call)
    fresh = [call for call in reads if call.id not in active.journal]
    if fresh:
        async with services.db.batch() as batch:
            if not writes and not is_stored:
                _store_asked(services, active, batch, asked, position)
            else:
                services.conversations.still_mine(batch, active.turn, lease_micros=services.limits.lease_micros)
            for call in fresh:
                _store_done(services, active, batch, call, results[call.id])
    return [results[call.id] for call in calls]


async def call_tool(services: Services, active: ActiveTurn, call: ToolCall) -> ToolResult:
    """One call a dialogue flow asked for, journaled the same way."""
    if _writes(active, call):
        return await _write_once(services, active, call)
    result = await _once(services, active, call)
    if call.id not in active.journal:
        async with services.db.batch() as batch:
            services.conversations.still_mine(batch, active.turn, lease_micros=services.limits.lease_micros)
            _store_done(services, active, batch, call, result)
    return result


async def _once(services: Services, active: ActiveTurn, call: ToolCall) -> ToolResult:
    """The call's recorded result, else the call."""
    recorded = active.journal.get(call.id)
    if recorded is None or recorded.result is None:
        return await _run(services, active, call)
    result = ToolResult(call.id, call.name, recorded.result, recorded.outcome, call.provider_id)
    active.stream.publish(events.TOOL_STARTED, _started(call))
    active.stream.publish(events.TOOL_COMPLETED, {"id": call.id, "name": call.name, "status": result.status})
    return result


async def _write_once(services: Services, active: ActiveTurn, call: ToolCall) -> ToolResult:
    """Intent row, effect, result row. A process that dies in between leaves an intent without a result: unknown."""
    recorded = active.journal.get(call.id)
    if recorded is not None and recorded.result is not None:
        return await _once(services, active, call)
    if recorded is None:
        async with services.db.batch() as batch:
            services.conversations.still_mine(batch, active.turn, lease_micros=services.limits.lease_micros)
            services.conversations.add_call(batch, active.turn, call, effect="write", at=services.clock.micros())
        result = await _run(services, active, call)
    else:
        result = await settled(services, active, call, recorded, run=_run)
    if result.status == "unknown":
        active.unknown.append(call.name)
    async with services.db.batch() as batch:
        services.conversations.still_mine(batch, active.turn, lease_micros=services.limits.lease_micros)
        services.conversations.end_call(batch, active.turn, result, at=services.clock.micros())
    return result


async def _run(services: Services, active: ActiveTurn, call: ToolCall) -> ToolResult:
    """Permission, then the tool itself within its time; whatever happens comes back as a result."""
    stream, tool = active.stream, active.release.tools.get(call.name)
    stream.publish(events.TOOL_STARTED, _started(call))
    active.waits.enter()
    try:
        result = await _governed(services, active, tool, call)
    finally:
        active.waits.leave()
    stream.publish(events.TOOL_COMPLETED, {"id": call.id, "name": call.name, "status": result.status})
    services.metrics.tool_call(active.turn.agent, call.name if tool else "unknown", result.status)
    return result


async def _governed(services: Services, active: ActiveTurn, tool: Tool | None, call: ToolCall) -> ToolResult:
    if tool is None:
        known = ", ".join(sorted(active.release.tools)) or "none"
        return _refused(call, "no_such_tool", f"there is no tool {call.name!r}; the tools are: {known}")
    turn = active.turn
    for policies in await services.releases.protection(turn.tenant_id, active.release):
        permission = decide_tool(active.principal, tool.name, policies.permissions)
        if not permission.allowed:
            return _refused(call, "permission_denied", permission.reason)
    return await services.tool_runner.run(tool, call, active.tool_context(call))


def _writes(active: ActiveTurn, call: ToolCall) -> bool:
    tool = active.release.tools.get(call.name)
    return tool is not None and tool.effect == "write"


def _refused(call: ToolCall, code: str, message: str) -> ToolResult:
    content = json.dumps({"error": {"code": code, "message": message}})
    return ToolResult(call.id, call.name, content, "failed", call.provider_id)


def _started(call: ToolCall) -> dict[str, object]:
    return {"id": call.id, "name": call.name, "arguments": _readable(call.arguments)}


def _readable(arguments: str) -> object:
    try:
        return json.loads(arguments)
    except ValueError:
        return arguments


def _store_asked(services: Services, active: ActiveTurn, batch: Batch, asked: Message, position: int) -> None:
    services.conversations.still_mine(batch, active.turn, lease_micros=services.limits.lease_micros)
    services.conversations.add_message(
        batch,
        active.turn,
        position,
        "assistant",
        asked.content,
        "agent",
        at=services.clock.micros(),
        tool_calls=asked.tool_calls,
    )


def _store_done(services: Services, active: ActiveTurn, batch: Batch, call: ToolCall, result: ToolResult) -> None:
    effect = "write" if _writes(active, call) else "read"
    services.conversations.add_call(batch, active.turn, call, effect=effect, at=services.clock.micros(), result=result)
