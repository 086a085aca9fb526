"""The life of the engine in a process: launch, relay of the outbox, heartbeat, sweep of the dead, and the end."""

import asyncio
import importlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

from handrail.core.errors import HandrailError
from handrail.core.jobs import DEPLOYMENT, Task
from handrail.db import Conflict
from handrail.flows.job_runs import at_once
from handrail.flows.jobs import JOBS, Job
from handrail.flows.services import Services
from handrail.jobs.replicas import Heartbeat, Timing
from handrail.settings import Settings
from handrail.telemetry.logging import logger
from handrail.telemetry.trace import begin_trace

if TYPE_CHECKING:
    from handrail.jobs.durable import Durable
    from handrail.jobs.sweep_lock import SweepLock
    from handrail.jobs.work import Work

T = TypeVar("T")
RELAY_SECONDS = 1.0
RETRY_SECONDS = 30.0
EMBEDDED = "embedded"


@asynccontextmanager
async def running_jobs(services: Services, settings: Settings) -> AsyncGenerator[None]:
    """Jobs run inside the block, unless they are off; what they have not done at its end, the next start does."""
    if not settings.jobs.enabled:
        yield
        return
    engine = JobEngine(services, settings)
    await engine.start()
    try:
        yield
    finally:
        await engine.stop()


class JobEngine:
    """Runs the jobs of `flows/jobs.py` in this process."""

    def __init__(
        self,
        services: Services,
        settings: Settings,
        *,
        jobs: Mapping[str, Job] = JOBS,
        timing: Timing = Timing(),
    ) -> None:
        self._services = services
        self._jobs = jobs
        self._timing = timing
        self._database_url = settings.database_url
        self._url = settings.database_url or f"sqlite:///{settings.data_dir / 'jobs.db'}"
        # On SQLite the owner lock of the data folder makes sure that there is one.
        self._executor_id = services.limits.owner if settings.database_url else EMBEDDED
        # DBOS blocks, and refuses to be called where an event loop runs.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="handrail-jobs")
        self._keepers: list[asyncio.Task[None]] = []
        self._durable: Durable | None = None
        self._work: Work | None = None
        self._heartbeat: Heartbeat | None = None
        self._lock: SweepLock | None = None
        self._state = "starting"

    @property
    def state(self) -> str:
        return self._state

    async def start(self) -> None:
        """Load the engine's library; it begins to work a moment later, and tries again where it can't."""
        await self._apart(importlib.import_module, "handrail.jobs.durable")
        self._services.background.engine = self
        self._keepers.append(asyncio.create_task(self._launch_until_it_runs()))

    async def stop(self) -> None:
        """Begin nothing more, cut pages short, let go of everything."""
        self._state = "stopped"
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        if self._work is not None:
            await self._work.stop()
        if self._durable is not None:
            await self._apart(self._durable.destroy)
        if self._lock is not None:
            await self._lock.close()
        if self._heartbeat is not None:
            with suppress(HandrailError):
                await self._heartbeat.leave()
        self._thread.shutdown(wait=False)

    async def forget_finished(self, *, days: int) -> int:
        return 0 if self._durable is None else await self._apart(self._durable.forget_finished, days)

    async def relay(self) -> int:
        """Give the engine what waits in the outbox; how many it were.

        Handing over and noting it are two steps: killed between them, the next relay hands over the same id again, and
        the engine knows it.
        """
        assert self._durable is not None
        waiting = await self._services.background.outbox.waiting()
        self._services.metrics.jobs_wait(len(waiting))
        for task in waiting:
            await self._apart(self._durable.enqueue, task)
        if waiting:
            await self._services.background.outbox.mark_sent(waiting)
        return len(waiting)

    async def catch_up(self) -> None:
        """Ask for each job whose time came while no process ran."""
        now, background = self._services.clock.micros(), self._services.background
        for job in self._jobs.values():
            if job.schedule is None:
                continue
            due = job.schedule.last_until(now)
            last = await background.runs.newest(DEPLOYMENT, job.name)
            if last and last[0].created_at >= due:
                continue
            with suppress(Conflict):
                async with self._services.db.batch() as batch:
                    background.outbox.ask(batch, Task(f"due-{job.name}-{due}", job.name, DEPLOYMENT))

    async def _launch_until_it_runs(self) -> None:
        from handrail.jobs.durable import Durable
        from handrail.jobs.work import Work

        while self._durable is None:
            begin_trace()
            try:
                self._work = Work(self._services, self._jobs, await self._replicas())
                durable = Durable(self._url, self._executor_id, self._work.steps(), poll_seconds=self._timing.poll)
                await self._apart(durable.launch, self._schedules())
                self._durable = durable
            except HandrailError as error:
                self._state = f"not running: {error.message}"
                logger().error("the background engine does not start", code=error.code, error=error.message)
                await asyncio.sleep(RETRY_SECONDS)
        self._state = "running"
        self._keepers.append(asyncio.create_task(_every(RELAY_SECONDS, self._relay)))
        if self._lock is not None:
            self._keepers.append(asyncio.create_task(_every(self._timing.sweep, self._take_up_the_dead)))
        with suppress(HandrailError):
            await self.catch_up()

    async def _replicas(self) -> Callable[[], Awaitable[None]]:
        """What a page waits for: that other processes know this one lives. A sole process need not ask."""
        if self._database_url is None:
            return at_once
        from handrail.jobs.durable import PROTOCOL
        from handrail.jobs.sweep_lock import SweepLock

        if self._heartbeat is None:
            services = self._services
            self._heartbeat = Heartbeat(
                services.background.executors, services.clock, self._executor_id, PROTOCOL, self._timing
            )
            self._lock = SweepLock(self._database_url)
            # Before anything can be begun under this id, or the sweeper would take it for a dead one's.
            await self._heartbeat.beat()
            self._keepers.append(asyncio.create_task(self._heartbeat.keep()))
        return self._heartbeat.alive

    async def _relay(self) -> None:
        while await self.relay():
            pass

    async def _take_up_the_dead(self) -> None:
        assert self._durable is not None
        assert self._lock is not None
        async with self._lock.held() as mine:
            if not mine:
                return
            alive = await self._services.background.executors.alive(within_seconds=self._timing.dead_after)
            if dead := await self._apart(self._durable.recover, alive):
                logger().warning("runs of processes that are gone are taken up", executors=dead)

    def _schedules(self) -> dict[str, str]:
        return {job.name: job.schedule.cron for job in self._jobs.values() if job.schedule is not None}

    async def _apart(self, work: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)


async def _every(seconds: float, work: Callable[[], Awaitable[None]]) -> None:
    """Again and again; an error is logged and the next time tries anew."""
    while True:
        begin_trace()
        try:
            await work()
        except HandrailError as error:
            logger().warning("the background engine could not go on", code=error.code, error=error.message)
        await asyncio.sleep(seconds)
