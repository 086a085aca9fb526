"""How a process ends: turns end or are handed over, and nothing is left running that nobody runs."""

import asyncio

from handrail.core.errors import HandrailError
from handrail.db import Conflict
from handrail.flows.services import ActiveTurn, Services, ShuttingDown
from handrail.telemetry.logging import logger

HANDED_OVER = "the server is stopping; the answer goes on when it is back: follow the turn's events"


async def drain(services: Services, seconds: float) -> None:
    """Admit nothing more, let turns end, hand over those that do not within `seconds`; those that wait stay stored."""
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
        active.stream.abandon(ShuttingDown(HANDED_OVER, retry_after_seconds=5))
        services.waiting.pop(active.turn.id, None)
        services.streams.close(active.turn.id)


async def hand_over(services: Services, active: ActiveTurn) -> None:
    """Let go of a turn's lease, so that another process, or this one when it is back, takes it over at once."""
    try:
        async with services.db.batch() as batch:
            services.leases.let_go(batch, active.turn)
    except Conflict:
        logger().info("a turn had another owner already", turn_id=active.turn.id)
    except HandrailError as error:
        # Its lease runs out by itself; that takes a little longer.
        logger().warning("a turn's lease could not be let go", turn_id=active.turn.id, code=error.code)
    active.stream.abandon(ShuttingDown(HANDED_OVER, retry_after_seconds=5))
