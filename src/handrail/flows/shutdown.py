"""How a process ends and begins again: nothing is left running that nobody runs."""

import asyncio

from handrail.core.errors import HandrailError
from handrail.flows import wording
from handrail.flows.record import record_early_end
from handrail.flows.services import ActiveTurn, Services
from handrail.serving.conversations import TurnStatus
from handrail.telemetry.logging import logger

INTERRUPTED = "the server stopped before this turn ended; send the message again"


async def drain(services: Services, seconds: float) -> None:
    """Admit nothing more, let turns end, and stop those that do not within `seconds`; those that wait never begin."""
    services.draining = True
    running = dict(services.running)
    if running:
        logger().info("waiting for turns to end", turns=len(running), seconds=seconds)
        await asyncio.wait(running.values(), timeout=seconds)
        late = {turn_id: task for turn_id, task in running.items() if not task.done()}
        for turn_id, task in late.items():
            if turn_id not in services.ending:
                task.cancel()
        if late:
            await asyncio.wait(late.values(), timeout=5.0)
    for active in list(services.waiting.values()):
        await _end_waiting(services, active)


async def _end_waiting(services: Services, active: ActiveTurn) -> None:
    try:
        active.conversation = await services.conversations.find(active.turn.tenant_id, active.turn.conversation_id)
        await record_early_end(services, active, None, TurnStatus.FAILED, "interrupted", wording.INTERRUPTED)
    except HandrailError as error:
        # Another process has just begun it, or the store is gone: then whoever opens it next finds it waiting.
        logger().warning("a waiting turn could not be ended", turn_id=active.turn.id, code=error.code)
    finally:
        services.waiting.pop(active.turn.id, None)
        services.streams.close(active.turn.id)


async def recover(services: Services) -> None:
    """End the turns that a killed process left open. Only the sole owner of a database may call this."""
    ended = await services.conversations.interrupt_orphans(INTERRUPTED, at=services.clock.micros())
    await services.conversations.sweep_keys(at=services.clock.micros())
    if ended:
        logger().warning("turns of a stopped process were ended as interrupted", turns=ended)
