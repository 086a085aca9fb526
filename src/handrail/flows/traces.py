"""Traces on their way: into the store every half second, to a collector every second, and once more at the end."""

import asyncio

from handrail.core.errors import HandrailError
from handrail.flows.keepers import every
from handrail.flows.services import Services
from handrail.telemetry.logging import logger

FLUSH_SECONDS = 0.5
SEND_SECONDS = 1.0
LAST_SECONDS = 5.0


def keep(services: Services) -> list["asyncio.Task[None]"]:
    """Write and send what waits; cancel the tasks to stop."""
    loop = asyncio.get_running_loop()
    tasks = [loop.create_task(every(FLUSH_SECONDS, services.traces.flush, "the traces"))]
    if services.trace_export is not None:
        tasks.append(loop.create_task(every(SEND_SECONDS, services.trace_export.flush, "the export of traces")))
    return tasks


async def close(services: Services) -> None:
    """What still waits when a process ends is written and sent, if it is taken at once."""
    try:
        await services.traces.flush()
        if services.trace_export is not None:
            async with asyncio.timeout(LAST_SECONDS):
                await services.trace_export.flush(attempts=1)
    except HandrailError as error:
        logger().warning(
            "traces could not be stored", count=services.traces.waiting, code=error.code, error=error.message
        )
    except TimeoutError:
        logger().warning("traces could not be sent in time")
