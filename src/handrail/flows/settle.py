"""A write that had begun when its process died: did it happen? Asked, never guessed, and never simply done again.

The call in flight may still act until its own deadline, so nobody asks before that. Then the tool's `reconcile` says
what happened. Only a tool that is idempotent by its key runs again when it says "not done": a process that slept and
wakes up may still finish a call that nobody expects any more.
"""

import asyncio
from collections.abc import Awaitable, Callable

from handrail.core import json
from handrail.core.messages import ToolCall, ToolResult
from handrail.flows.services import ActiveTurn, Services
from handrail.serving.conversations import StoredToolCall
from handrail.telemetry.logging import logger

Run = Callable[[Services, ActiveTurn, ToolCall], Awaitable[ToolResult]]


async def settled(
    services: Services, active: ActiveTurn, call: ToolCall, begun: StoredToolCall, *, run: Run
) -> ToolResult:
    """The outcome of a call whose intent is stored and whose result is not."""
    tool = active.release.tools.get(call.name)
    if tool is None or tool.reconcile is None:
        return _unknown(call)
    # By the database's clock on both sides: the one that began it may have had another.
    over = (begun.created_at - await services.approvals.now()) / 1e6 + tool.timeout_seconds
    if over > active.deadline.remaining():
        return _unknown(call)
    active.waits.enter()
    try:
        await asyncio.sleep(max(0.0, over))
        found = await services.tool_runner.reconcile(tool, call, active.tool_context(call))
    finally:
        active.waits.leave()
    logger().info("a tool was asked what became of its call", tool=call.name, call_id=call.id, found=found is not None)
    if found is not None:
        return found
    return await run(services, active, call) if tool.idempotent else _unknown(call)


def _unknown(call: ToolCall) -> ToolResult:
    message = "it is not known whether this happened; do not try again, a person checks it"
    content = json.dumps({"error": {"code": "unknown", "message": message}})
    return ToolResult(call.id, call.name, content, "unknown", call.provider_id)
