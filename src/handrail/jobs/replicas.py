"""Several processes on one PostgreSQL: each says that it lives."""

import asyncio
from dataclasses import dataclass

from handrail.core.clock import Clock
from handrail.core.errors import HandrailError
from handrail.db.jobs import Executors
from handrail.telemetry.logging import logger
from handrail.telemetry.trace import begin_trace


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds between heartbeats, between sweeps, between looks into the queues, and until others call a silent process
    dead.

    A look costs two milliseconds, and an idle server makes nothing but looks.
    `silent_after` is earlier than that: a process that can't say it lives begins no page any more.
    """

    beat: float = 3.0
    sweep: float = 5.0
    poll: float = 3.0
    silent_after: float = 10.0
    dead_after: float = 15.0


class Heartbeat:
    """Says again and again that this process lives; `alive` waits until that was heard lately."""

    def __init__(
        self, executors: Executors, clock: Clock, executor_id: str, protocol: str, timing: Timing = Timing()
    ) -> None:
        self._executors = executors
        self._clock = clock
        self._executor_id = executor_id
        self._protocol = protocol
        self._timing = timing
        self._last = float("-inf")
        self._beaten = asyncio.Event()

    async def beat(self) -> None:
        began = self._clock.monotonic()
        await self._executors.beat(self._executor_id, self._protocol)
        self._last = began
        self._beaten.set()

    async def keep(self) -> None:
        while True:
            begin_trace()
            try:
                await self.beat()
            except HandrailError as error:
                logger().warning("the heartbeat of the background engine was not taken", code=error.code)
            await asyncio.sleep(self._timing.beat)

    async def alive(self) -> None:
        """Return once a heartbeat is fresh enough that nobody takes this process for dead."""
        while self._clock.monotonic() - self._last > self._timing.silent_after:
            self._beaten.clear()
            await self._beaten.wait()

    async def leave(self) -> None:
        """Let others take up at once what this process leaves."""
        await self._executors.leave(self._executor_id)
