"""DBOS behind a narrow door: the only module that knows it, imported when jobs start.

DBOS works in threads of its own and never on the server's event loop; a page of a job is handed to that loop and waited
for. All methods block, so the engine calls them from a thread.
"""

import logging
import os
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import dbos
from dbos import DBOS, DBOSConfig, DBOSPortableJSONSerializer, _workflow_commands
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.exc import SQLAlchemyError

from handrail.core.errors import HandrailError
from handrail.core.jobs import DEPLOYMENT, Task

# Which runs this process can go on with. It changes when the steps of a run do, not with releases or deployments.
PROTOCOL = "p1"
QUEUE = "jobs"
SCHEMA = "handrail_jobs"
MOST_FORGOTTEN = 500
# Of what no run uses: delays and time limits of the engine, and queues of others. On PostgreSQL a lock is held in a
# transaction from one look for delays to the next, which may idle for five seconds.
UNUSED_SECONDS, UNUSED_LOCKED_SECONDS = 60.0, 3.0
_FINISHED = ["SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"]


class EngineUnavailable(HandrailError):
    """The background engine does not start, or its store does not answer."""

    code = "engine_unavailable"
    retryable = True


class Stopped(BaseException):
    """This process is about to end: the run stays begun and is taken up again. No `Exception`, which would end it."""


@dataclass(frozen=True, slots=True)
class Steps:
    """What a run does, each checkpointed: called from threads of DBOS."""

    begin: Callable[[Task], Any]
    page: Callable[[Task, Mapping[str, Any]], Mapping[str, Any]]
    end: Callable[[Task, Mapping[str, Any]], Any]


class Durable:
    """One a process, as DBOS allows."""

    def __init__(self, url: str, executor_id: str, steps: Steps, *, poll_seconds: float) -> None:
        self._url = url
        self._poll_seconds = poll_seconds
        self._executor_id = executor_id
        self._steps = steps

    def launch(self, schedules: Mapping[str, str]) -> None:
        """Open the store, take up what this executor had begun, and let the schedules (job to cron) fire."""
        with _named("the background engine can't start"):
            try:
                engine = DBOS(config=self._config())
                _look_seldom(engine, self._poll_seconds, is_sqlite=self._url.startswith("sqlite:"))
                run, scheduled = self._workflows()
                DBOS.launch()
                DBOS.register_queue(
                    QUEUE, worker_concurrency=2, polling_interval_sec=self._poll_seconds, on_conflict="always_update"
                )
                _know_queues(engine)
                self._schedule(scheduled, schedules)
            except BaseException:
                DBOS.destroy(destroy_registry=True)
                raise
            self._run = run

    def enqueue(self, task: Task) -> None:
        """Hand over what was asked for; the same id a second time changes nothing."""
        with _named(f"the background engine did not take {task.id!r}"):
            DBOS.enqueue_workflow_with_options(
                {"workflow_name": "run_job", "queue_name": QUEUE, "workflow_id": task.id, "app_version": PROTOCOL},
                task.id,
                task.job,
                task.tenant_id,
                dict(task.arguments),
            )

    def recover(self, alive: set[str]) -> Sequence[str]:
        """Let others take up what executors that live no more had begun; their ids.

        The update is conditional on status and executor, so two processes that do this at once do no harm.
        """
        with _named("runs of dead processes could not be taken up"):
            pending = DBOS.list_workflows(status="PENDING", load_input=False, load_output=False)
            dead = sorted({each.executor_id for each in pending if each.executor_id} - alive)
            if dead:
                # The public `resume_workflows` would fence a healthy new owner; a contract test watches this one.
                DBOS._recover_pending_workflows(dead)  # pyright: ignore[reportPrivateUsage]
            return dead

    def forget_finished(self, days: int) -> int:
        """Delete the oldest rows of runs that ended so long ago; DBOS itself never does."""
        before = (datetime.now(UTC) - timedelta(days=days)).isoformat()
        with _named("finished runs could not be forgotten"):
            found = DBOS.list_workflows(
                status=_FINISHED, completed_before=before, limit=MOST_FORGOTTEN, load_input=False, load_output=False
            )
            if found:
                DBOS.delete_workflows([each.workflow_id for each in found])
            return len(found)

    def destroy(self) -> None:
        """End all threads and connections. Runs that have begun stay so."""
        # A run that its queue is just handing out is told so as an error; it is taken up again like the others.
        logging.getLogger("dbos").setLevel(logging.CRITICAL)
        DBOS.destroy(destroy_registry=True)

    def _config(self) -> DBOSConfig:
        config = DBOSConfig(
            name="handrail",
            application_version=PROTOCOL,
            executor_id=self._executor_id,
            serializer=DBOSPortableJSONSerializer(),
            log_level="WARNING",
        )
        if self._url.startswith("sqlite:"):
            # No run waits for a notification, but the end of the process waits for this sleep.
            return config | DBOSConfig(
                system_database_url=self._url,
                system_database_engine=_sqlite_engine(self._url),
                notification_listener_polling_interval_sec=1.0,
            )
        return config | DBOSConfig(
            system_database_url=self._url.replace("postgresql+asyncpg://", "postgresql://", 1),
            dbos_system_schema=SCHEMA,
            sys_db_pool_size=4,
            sys_db_idle_transaction_timeout_sec=10.0,
            # No run sends any either, and a hundred looks a second are a sixth of what an idle server costs.
            notification_coalesce_sec=0.5,
        )

    def _workflows(self) -> tuple[Any, Any]:
        @DBOS.workflow(name="run_job")
        def run_job(run_id: str, job: str, tenant_id: str, arguments: dict[str, Any]) -> None:
            self._go(Task(run_id, job, tenant_id, arguments))

        @DBOS.workflow(name="scheduled_job")
        def scheduled_job(at: datetime, context: Any) -> None:
            self._go(Task(cast(str, DBOS.workflow_id), context["job"], DEPLOYMENT))

        return run_job, scheduled_job

    def _go(self, task: Task) -> None:
        """Page after page; a run that is taken up again begins with the page that had not ended."""
        steps = self._steps
        DBOS.run_step({"name": "begin"}, steps.begin, task)
        state: Mapping[str, Any] = {}
        while not state.get("done"):
            state = DBOS.run_step({"name": "page"}, steps.page, task, state)
        DBOS.run_step({"name": "end"}, steps.end, task, state)

    def _schedule(self, workflow: Any, schedules: Mapping[str, str]) -> None:
        for known in DBOS.list_schedules():
            if known["schedule_name"] not in schedules:
                DBOS.delete_schedule(known["schedule_name"])
        DBOS.apply_schedules(
            [
                {
                    "schedule_name": job,
                    "workflow_fn": workflow,
                    "schedule": cron,
                    "context": {"job": job},
                    "queue_name": QUEUE,
                }
                for job, cron in schedules.items()
            ]
        )


def _look_seldom(engine: DBOS, poll_seconds: float, *, is_sqlite: bool) -> None:
    """Where DBOS has no setting for it; a contract test watches these names."""
    engine._registry.get_internal_queue()._polling_interval_sec = poll_seconds  # pyright: ignore[reportPrivateUsage]
    seldom = UNUSED_SECONDS if is_sqlite else UNUSED_LOCKED_SECONDS
    _workflow_commands._BACKGROUND_JOBS_INTERVAL_SEC = seldom  # pyright: ignore[reportPrivateUsage]


def _know_queues(engine: DBOS) -> None:
    """Which queues there are is asked every second; each queue asks for its own settings besides."""
    store = engine._sys_db  # pyright: ignore[reportPrivateUsage]
    ask, known, asked_at = store.list_queues, list[Any](), float("-inf")

    def list_queues(**given: Any) -> list[Any]:
        nonlocal known, asked_at
        if (now := time.monotonic()) - asked_at >= UNUSED_SECONDS:
            known, asked_at = ask(**given), now
        return known

    store.list_queues = list_queues


def _sqlite_engine(url: str) -> Engine:
    """Waiting is done in Python and not in SQLite; DBOS relies on IMMEDIATE and leaves it to an engine of one's own."""
    # Its side files follow its mode; what jobs are asked to do is nobody else's to read.
    os.close(os.open(url.removeprefix("sqlite:///"), os.O_RDWR | os.O_CREAT, 0o600))
    engine = create_engine(url, pool_size=1, max_overflow=0, pool_timeout=30)

    def prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = "IMMEDIATE"
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=30000", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    event.listen(engine, "connect", prepare)
    return engine


@contextmanager
def _named(what: str) -> Generator[None]:
    try:
        yield
    except (dbos.error.DBOSException, SQLAlchemyError, OSError) as error:
        raise EngineUnavailable(f"{what}: {str(error).partition(chr(10))[0] or type(error).__name__}") from error
