"""SQL for background work. Methods that take a batch append to it; the flow commits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, Text, bindparam, delete, insert, literal_column, select, update

from handrail.core import json
from handrail.core.clock import iso
from handrail.core.jobs import DEPLOYMENT, Task
from handrail.db.batch import Batch, Conflict, Database, Row
from handrail.db.jobs.tables import executor, job_run, outbox
from handrail.db.metadata import now
from handrail.db.prepared import Prepared

_o, _r, _e = outbox, job_run, executor
_ASK = Prepared(
    insert(_o).values(
        {
            **{name: bindparam(name, type_=Text) for name in ("id", "tenant_id", "job", "arguments")},
            "created_at": now(),
            "sent_at": None,
        }
    )
)
_WAITING = Prepared(select(_o).where(_o.c.sent_at.is_(None)).order_by(_o.c.id).limit(bindparam("limit")))
_SENT = Prepared(update(_o).where(_o.c.id == bindparam("id_")).values(sent_at=now()))
_FORGET_SENT = Prepared(delete(_o).where(_o.c.sent_at < now() - bindparam("age", type_=BigInteger)))

_ADD_RUN = Prepared(
    insert(_r).values(
        {
            **{column.name: bindparam(column.name, type_=column.type) for column in _r.c},
            "created_at": now(),
            "started_at": None,
            "ended_at": None,
        }
    )
)
_START = Prepared(
    update(_r)
    .where(_r.c.id == bindparam("id_"), _r.c.status.in_([literal_column("'waiting'"), literal_column("'running'")]))
    .values(status="running", attempts=_r.c.attempts + 1, started_at=now())
)
_END = Prepared(
    update(_r)
    .where(_r.c.id == bindparam("id_"), _r.c.status == "running")
    .values(
        status=bindparam("status_"),
        report=bindparam("report_", type_=Text),
        error_code=bindparam("code_", type_=Text),
        error_message=bindparam("message_", type_=Text),
        ended_at=now(),
    )
)
# A run is its tenant's; those of the deployment can be seen by every tenant's operators.
_VISIBLE = _r.c.tenant_id.in_([bindparam("tenant_id", type_=Text), literal_column(f"'{DEPLOYMENT}'")])
_FIND_RUN = Prepared(select(_r).where(_r.c.id == bindparam("id")))
_NEWEST = Prepared(
    select(_r)
    .where(_r.c.job == bindparam("job"), _VISIBLE)
    .order_by(_r.c.created_at.desc(), _r.c.id.desc())
    .limit(bindparam("limit"))
)
_FORGET_RUNS = Prepared(delete(_r).where(_r.c.ended_at < now() - bindparam("age", type_=BigInteger)))

_BEAT = Prepared(update(_e).where(_e.c.id == bindparam("id_")).values(beat_at=now()))
_FIRST_BEAT = Prepared(
    insert(_e).values(
        {
            "id": bindparam("id", type_=Text),
            "protocol": bindparam("protocol", type_=Text),
            "beat_at": now(),
        }
    )
)
_ALIVE = Prepared(select(_e.c.id).where(_e.c.beat_at >= now() - bindparam("within", type_=BigInteger)))
_LEAVE = Prepared(delete(_e).where(_e.c.id == bindparam("id_")))
_FORGET_DEAD = Prepared(delete(_e).where(_e.c.beat_at < now() - bindparam("age", type_=BigInteger)))
DAY = 24 * 3600 * 1_000_000


@dataclass(frozen=True, slots=True)
class JobRun:
    """One run of a job: `waiting running completed failed`.

    Attributes:
        attempts: how often it was begun; more than once when a process died in it.
        report: what it did, by tenant.
    """

    id: str
    tenant_id: str
    job: str
    status: str
    requested_by: str | None
    attempts: int
    report: Mapping[str, Mapping[str, Any]]
    error_code: str | None
    error_message: str | None
    created_at: int
    started_at: int | None
    ended_at: int | None

    @classmethod
    def of(cls, row: Row) -> "JobRun":
        given = {name: row[name] for name in cls.__dataclass_fields__ if name != "report"}
        return cls(report=json.loads(row["report"]) if row["report"] else {}, **given)

    def body(self, tenant_id: str | None) -> dict[str, Any]:
        """As the API shows it to a tenant: of what was done, its own part. Without a tenant, all of it."""
        seen = (
            self.report if tenant_id is None else {key: each for key, each in self.report.items() if key == tenant_id}
        )
        error = {"code": self.error_code, "message": self.error_message} if self.error_code else None
        return {
            "id": self.id,
            "object": "job_run",
            "job": self.job,
            "status": self.status,
            "requested_by": self.requested_by,
            "attempts": self.attempts,
            "report": seen,
            "error": error,
            "created_at": iso(self.created_at),
            "started_at": None if self.started_at is None else iso(self.started_at),
            "ended_at": None if self.ended_at is None else iso(self.ended_at),
        }


class Outbox:
    """What is asked for and not yet given to the engine."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def ask(self, batch: Batch, task: Task) -> None:
        """Ask for a run; it begins once this batch is committed. The same id a second time is a `Conflict`."""
        batch.add(
            _ASK,
            {"id": task.id, "tenant_id": task.tenant_id, "job": task.job, "arguments": json.dumps(task.arguments)},
        )

    async def waiting(self, limit: int = 100) -> Sequence[Task]:
        """The oldest that were not sent; several processes may see the same."""
        rows = await self._db.fetch_all(_WAITING, {"limit": limit})
        return [Task(row["id"], row["job"], row["tenant_id"], json.loads(row["arguments"])) for row in rows]

    async def mark_sent(self, tasks: Sequence[Task]) -> None:
        async with self._db.batch() as batch:
            for task in tasks:
                batch.add(_SENT, {"id_": task.id})

    def forget_sent(self, batch: Batch, *, days: int) -> None:
        batch.add(_FORGET_SENT, {"age": days * DAY})


class JobRuns:
    """What became of each run; the console, the API and the command line read it."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def add(self, batch: Batch, task: Task, *, requested_by: str | None) -> None:
        """Note a run that waits to begin."""
        batch.add(
            _ADD_RUN,
            {
                "id": task.id,
                "tenant_id": task.tenant_id,
                "job": task.job,
                "status": "waiting",
                "requested_by": requested_by,
                "attempts": 0,
                "report": None,
                "error_code": None,
                "error_message": None,
            },
        )

    async def start(self, task: Task) -> None:
        """Note that it begins, or begins again; one that a schedule began is not there yet."""
        if await self.find(task.id) is None:
            try:
                async with self._db.batch() as batch:
                    self.add(batch, task, requested_by=None)
                    batch.add(_START, {"id_": task.id})
            except Conflict:
                pass
            else:
                return
        async with self._db.batch() as batch:
            batch.add(_START, {"id_": task.id})

    async def end(
        self, task: Task, *, report: Mapping[str, Any], error_code: str | None = None, error_message: str | None = None
    ) -> None:
        """Note how it ended; a second time changes nothing."""
        async with self._db.batch() as batch:
            batch.add(
                _END,
                {
                    "id_": task.id,
                    "status_": "completed" if error_code is None else "failed",
                    "report_": json.dumps(report),
                    "code_": error_code,
                    "message_": error_message,
                },
            )

    async def find(self, run_id: str) -> JobRun | None:
        row = await self._db.fetch_one(_FIND_RUN, {"id": run_id})
        return JobRun.of(row) if row is not None else None

    async def newest(self, tenant_id: str, job: str, *, limit: int = 1) -> Sequence[JobRun]:
        """The tenant's and the deployment's runs of a job, newest first."""
        rows = await self._db.fetch_all(_NEWEST, {"tenant_id": tenant_id, "job": job, "limit": limit})
        return [JobRun.of(row) for row in rows]

    def forget_ended(self, batch: Batch, *, days: int) -> None:
        batch.add(_FORGET_RUNS, {"age": days * DAY})


class Executors:
    """Which processes run jobs, by the database's clock."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def beat(self, executor_id: str, protocol: str) -> None:
        """Say that this process lives."""
        try:
            async with self._db.batch() as batch:
                batch.add(_BEAT, {"id_": executor_id}, expect=1)
        except Conflict:
            async with self._db.batch() as batch:
                batch.add(_FIRST_BEAT, {"id": executor_id, "protocol": protocol})

    async def alive(self, *, within_seconds: float) -> set[str]:
        rows = await self._db.fetch_all(_ALIVE, {"within": int(within_seconds * 1_000_000)})
        return {row["id"] for row in rows}

    async def leave(self, executor_id: str) -> None:
        """This process ends; what it had begun is anybody's."""
        async with self._db.batch() as batch:
            batch.add(_LEAVE, {"id_": executor_id})

    def forget_dead(self, batch: Batch, *, days: int = 1) -> None:
        batch.add(_FORGET_DEAD, {"age": days * DAY})
