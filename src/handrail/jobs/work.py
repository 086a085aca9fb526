"""A run's steps on the server's event loop: pages of jobs, and the record of how they went."""

import asyncio
import concurrent.futures
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, TypeVar

from handrail.core.jobs import Task
from handrail.flows import job_runs
from handrail.flows.jobs import Job
from handrail.flows.services import Services
from handrail.jobs.durable import Steps, Stopped
from handrail.telemetry.trace import enter_trace, trace_named

T = TypeVar("T")


class Work:
    """What a step of a run does. An error of a page ends its run as `failed` and never leaves it."""

    def __init__(self, services: Services, jobs: Mapping[str, Job], alive: Callable[[], Awaitable[None]]) -> None:
        self._services = services
        self._jobs = jobs
        self._alive = alive
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._stopping = False

    def steps(self) -> Steps:
        """For threads: each waits until its part is done on the loop."""
        return Steps(
            begin=lambda task: self._wait(task, self._begin(task)),
            page=lambda task, state: self._wait(task, self._page(task, state)),
            end=lambda task, state: self._wait(task, self._end(task, state)),
        )

    async def stop(self) -> None:
        """No step begins any more; those that run are cut short and run again later."""
        self._stopping = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=5)

    async def _begin(self, task: Task) -> None:
        await job_runs.begin(self._services, task)

    async def _page(self, task: Task, state: Mapping[str, Any]) -> Mapping[str, Any]:
        return await job_runs.work(self._services, task, state, jobs=self._jobs, before=self._alive)

    async def _end(self, task: Task, state: Mapping[str, Any]) -> None:
        await job_runs.end(self._services, task, state)

    def _wait(self, run: Task, step: Coroutine[Any, Any, T]) -> T:
        if self._stopping:
            step.close()
            raise Stopped
        try:
            return asyncio.run_coroutine_threadsafe(self._track(run, step), self._loop).result()
        except (concurrent.futures.CancelledError, RuntimeError) as error:
            # Cancelled by `stop`, or the loop is gone already.
            raise Stopped from error

    async def _track(self, run: Task, step: Coroutine[Any, Any, T]) -> T:
        enter_trace(trace_named(run.id))
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            return await step
        finally:
            self._tasks.discard(task)
