"""All conversations of a tenant to a file of JSON lines, for who runs the deployment."""

import asyncio
from collections.abc import Mapping
from typing import Any

from handrail.core.jobs import Task
from handrail.flows.audit import exported
from handrail.flows.services import Services

PAGE = 100
State = Mapping[str, Any]


async def export_page(services: Services, task: Task, state: State) -> State:
    """Append the next hundred. A part that is not on this machine's disk is begun anew."""
    background = services.background
    if not await asyncio.to_thread(background.exports.holds, task.id, state.get("size", 0)):
        state = {}
    until = state.get("until") or services.clock.micros()
    after, size, count = state.get("after", ""), state.get("size", 0), state.get("count", 0)
    found = await background.export.page(task.tenant_id, after=after, until=until, limit=PAGE)
    lines = [await background.export.line(each) for each in found]
    size = await asyncio.to_thread(background.exports.append, task.id, size, lines)
    count += len(found)
    if len(found) == PAGE:
        return {"until": until, "after": found[-1].id, "size": size, "count": count}
    async with services.db.batch() as batch:
        exported(services, batch, task.tenant_id, task.id, count)
    await asyncio.to_thread(background.exports.finish, task.id)
    done = {"conversations": count, "bytes": size, "file": str(background.exports.path(task.id))}
    return {"done": True, "report": {task.tenant_id: done}}
