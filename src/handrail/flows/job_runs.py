"""A run of a job: it begins, works page by page, and what became of it is recorded.

Whoever drives it (the background engine) stores what a page returns before the next one begins. An error of a page
ends its run as `failed` and never leaves it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from handrail.core.errors import HandrailError
from handrail.core.jobs import Task
from handrail.flows.jobs import JOBS, Job, State
from handrail.flows.services import Services
from handrail.telemetry.logging import logger

ATTEMPTS = 5
MOST_WAIT_SECONDS = 30.0


async def at_once() -> None:
    """Nothing to wait for before a page."""


async def begin(services: Services, task: Task) -> None:
    """Record that it runs."""
    await _until_stored(lambda: services.background.runs.start(task))
    logger().info("a job runs", job=task.job, run_id=task.id)


async def work(
    services: Services,
    task: Task,
    state: State,
    *,
    jobs: Mapping[str, Job] = JOBS,
    before: Callable[[], Awaitable[None]] = at_once,
) -> State:
    """One page; `before` is waited for before each attempt."""
    job = jobs.get(task.job)
    if job is None:
        return _failed(state, "unknown_job", f"this version has no job {task.job!r}; ask for one of {sorted(jobs)}")
    for attempt in range(1, ATTEMPTS + 1):
        await before()
        try:
            return await job.page(services, task, state)
        except HandrailError as error:
            if not error.retryable or attempt == ATTEMPTS:
                return _failed(state, error.code, error.message)
            await asyncio.sleep(2.0 ** (attempt - 1))
        except OSError as error:
            return _failed(state, "disk_error", f"{error.strerror or error} ({error.filename!r}); then run it again")
        except Exception as error:  # noqa: BLE001 - the one place where an unknown error of a job ends
            logger().error("a job failed", job=task.job, run_id=task.id, exc_info=error)
            return _failed(state, "internal", "something went wrong on our side; the log has it")
    raise AssertionError("the last attempt returns")


async def end(services: Services, task: Task, state: State) -> None:
    """Record how it went."""
    failed = state.get("failed") or {}
    code, message = failed.get("code"), failed.get("message")
    runs, report = services.background.runs, state.get("report", {})
    await _until_stored(lambda: runs.end(task, report=report, error_code=code, error_message=message))
    run = await runs.find(task.id)
    if run is not None and run.started_at is not None and run.ended_at is not None:
        services.metrics.job_ended(task.job, run.status, (run.ended_at - run.started_at) / 1_000_000)
    if failed:
        logger().warning("a job failed", job=task.job, run_id=task.id, code=code, error=message)
    else:
        logger().info("a job is done", job=task.job, run_id=task.id)


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


def _failed(state: State, code: str, message: str) -> Mapping[str, Any]:
    """The end of a run; what it had done stays in its report."""
    return {"done": True, "report": state.get("report", {}), "failed": {"code": code, "message": message}}
