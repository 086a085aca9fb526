"""What a process does again and again for as long as it lives."""

import asyncio
from collections.abc import Awaitable, Callable

from handrail.core.errors import HandrailError
from handrail.telemetry.logging import logger
from handrail.telemetry.trace import begin_trace


async def every(seconds: float, work: Callable[[], Awaitable[object]], what: str) -> None:
    """Again and again, whatever happens, each time in a trace of its own; cancel the task to stop."""
    while True:
        await asyncio.sleep(seconds)
        begin_trace()
        await tried(work, what)


async def tried(work: Callable[[], Awaitable[object]], what: str) -> None:
    """An error is logged and the next time tries anew: a process that no longer looks after leases loses its turns."""
    try:
        await work()
    except HandrailError as error:
        logger().warning(f"{what} could not be looked after", code=error.code, error=error.message)
    except Exception as error:  # noqa: BLE001 - the task of a keeper must outlive it
        logger().error(f"{what} could not be looked after", exc_info=error)
