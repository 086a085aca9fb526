"""How a process ends and begins again: nothing is left running that nobody runs."""

import asyncio

from handrail.flows.services import Services
from handrail.telemetry.logging import logger

INTERRUPTED = "the server stopped before this turn ended; send the message again"


async def drain(services: Services, seconds: float) -> None:
    """Admit nothing more, let turns end, and stop those that do not within `seconds`."""
    services.draining = True
    tasks = list(services.running.values())
    if tasks:
        logger().info("waiting for turns to end", turns=len(tasks), seconds=seconds)
        _, late = await asyncio.wait(tasks, timeout=seconds)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=5.0)


async def recover(services: Services) -> None:
    """End the turns that a killed process left open. Only the sole owner of a database may call this."""
    ended = await services.conversations.interrupt_orphans(INTERRUPTED, at=services.clock.micros())
    await services.conversations.sweep_keys(at=services.clock.micros())
    if ended:
        logger().warning("turns of a stopped process were ended as interrupted", turns=ended)
