"""A run's steps on the server's event loop: pages of jobs, and the record of how they went."""

import asyncio
import concurrent.futures
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, TypeVar

from handrail.core.errors import HandrailError
from handrail.core.jobs import Task
from handrail.flows.jobs import Job
from handrail.flows.services import Services
from handrail.jobs.durable import Steps, Stopped
from handrail.telemetry.logging import logger
from handrail.telemetry.trace import enter_trace, trace_named

T = TypeVar("T")
ATTEMPTS = 5
MOST_WAIT_SECONDS = 30.0


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
        await _until_stored(lambda: self._services.background.runs.start(task))
        logger().info("a job runs", job=task.job, run_id=task.id)

    async def _page(self, task: Task, state: Mapping[str, Any]) -> Mapping[str, Any]:
        job = self._jobs.get(task.job)
        if job is None:
            return _failed(
                state, "unknown_job", f"this version has no job {task.job!r}; ask for one of {sorted(self._jobs)}"
            )
        for attempt in range(1, ATTEMPTS + 1):
            await self._alive()
            try:
                return await job.page(self._services, task, state)
            except HandrailError as error:
                if not error.retryable or attempt == ATTEMPTS:
                    return _failed(state, error.code, error.message)
                await asyncio.sleep(2.0 ** (attempt - 1))
            except OSError as error:
                return _failed(
                    state, "disk_error", f"{error.strerror or error} ({error.filename!r}); then run it again"
                )
            except Exception as error:  # noqa: BLE001 - the one place where an unknown error of a job ends
                logger().error("a job failed", job=task.job, run_id=task.id, exc_info=error)
                return _failed(state, "internal", "something went wrong on our side; the log has it")
        raise AssertionError("the last attempt returns")

    async def _end(self, task: Task, state: Mapping[str, Any]) -> None:
        failed = state.get("failed") or {}
        code, message = failed.get("code"), failed.get("message")
        runs = self._services.background.runs
        report = state.get("report", {})
        await _until_stored(lambda: runs.end(task, report=report, error_code=code, error_message=message))
        run = await runs.find(task.id)
        if run is not None and run.started_at is not None and run.ended_at is not None:
            self._services.metrics.job_ended(task.job, run.status, (run.ended_at - run.started_at) / 1_000_000)
        if failed:
            logger().warning("a job failed", job=task.job, run_id=task.id, code=code, error=message)
        else:
            logger().info("a job is done", job=task.job, run_id=task.id)

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


async def _until_stored(write: Callable[[], Awaitable[None]]) -> None:
    """Again until the store takes it: a run whose record is missing would look as if it never was."""
    wait = 0.5
    while True:
        try:
            return await write()
        except HandrailError as error:
            if not error.retryable:
                raise
            logger().warning("the record of a job waits for the store", code=error.code)
        await asyncio.sleep(wait)
        wait = min(wait * 2, MOST_WAIT_SECONDS)


def _failed(state: Mapping[str, Any], code: str, message: str) -> Mapping[str, Any]:
    """The end of a run; what it had done stays in its report."""
    return {"done": True, "report": state.get("report", {}), "failed": {"code": code, "message": message}}
