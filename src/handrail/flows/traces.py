"""Traces on their way into the store: written every half second, and once more at the end of the process."""

import asyncio

from handrail.core.errors import HandrailError
from handrail.flows.keepers import every
from handrail.flows.services import Services
from handrail.telemetry.logging import logger

FLUSH_SECONDS = 0.5


def keep(services: Services) -> "asyncio.Task[None]":
    """Write what waits; cancel the task to stop."""
    return asyncio.get_running_loop().create_task(every(FLUSH_SECONDS, services.traces.flush, "the traces"))


async def close(services: Services) -> None:
    """What still waits when a process ends is written, if the database takes it."""
    try:
        await services.traces.flush()
    except HandrailError as error:
        logger().warning(
            "traces could not be stored", count=services.traces.waiting, code=error.code, error=error.message
        )
