"""The engine over the world of the flow tests, with jobs that a test watches."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from handrail.core.jobs import DEPLOYMENT, Schedule, Task
from handrail.db.jobs import JobRun
from handrail.flows.jobs import Job
from handrail.flows.services import Services
from handrail.jobs import JobEngine
from handrail.jobs.replicas import Timing
from handrail.settings import Settings

QUICK = Timing(beat=0.1, sweep=0.2, poll=0.2, silent_after=0.6, dead_after=1.0)


class Counter:
    """A job of `pages` pages that notes each; `before` is asked at the beginning of a page."""

    def __init__(self, pages: int = 3) -> None:
        self.pages = pages
        self.noted: list[int] = []
        self.before: Callable[[int], Any] = lambda page: None

    async def page(self, services: Services, task: Task, state: Mapping[str, Any]) -> Mapping[str, Any]:
        number = state.get("next", 1)
        self.noted.append(number)
        done = self.before(number)
        if done is not None:
            await done
        report = {task.tenant_id: {"pages": number} | dict(task.arguments)}
        return {"next": number + 1, "done": number >= self.pages, "report": report}


def jobs_of(counter: Counter, schedule: Schedule | None = None) -> dict[str, Job]:
    return {"count": Job("count", "Count.", counter.page, schedule)}


@asynccontextmanager
async def engine_over(
    services: Services, jobs: Mapping[str, Job], folder: Path, url: str | None = None, timing: Timing = QUICK
) -> AsyncIterator[JobEngine]:
    engine = JobEngine(services, Settings(data_dir=folder, database_url=url), jobs=jobs, timing=timing)
    await engine.start()
    try:
        await until(lambda: engine.state == "running")
        yield engine
    finally:
        await engine.stop()


async def ask(services: Services, run_id: str, **arguments: Any) -> Task:
    task = Task(run_id, "count", DEPLOYMENT, arguments)
    async with services.db.batch() as batch:
        services.background.outbox.ask(batch, task)
    return task


async def ended(services: Services, run_id: str, seconds: float = 20.0) -> JobRun:
    """The run, once it has ended."""
    async with asyncio.timeout(seconds):
        while True:
            run = await services.background.runs.find(run_id)
            if run is not None and run.ended_at is not None:
                return run
            await asyncio.sleep(0.05)


async def until(holds: Callable[[], bool], seconds: float = 20.0) -> None:
    ends = asyncio.get_running_loop().time() + seconds
    while not holds():
        assert asyncio.get_running_loop().time() < ends, "it did not happen in time"
        await asyncio.sleep(0.02)
