"""What operators see of jobs and ask of them, as API bodies: the same for the API, the console and the command line."""

from typing import Any

from handrail.core.clock import Clock, iso
from handrail.core.errors import NotFound
from handrail.core.ids import new_id
from handrail.core.jobs import DEPLOYMENT, Task
from handrail.core.principal import Principal
from handrail.db import Database
from handrail.db.jobs import JobRuns, Outbox
from handrail.flows.audit import job_requested
from handrail.flows.jobs import JOBS, Job
from handrail.protection.audit import AuditTrail
from handrail.protection.auth import LOCAL_OPERATOR

Body = dict[str, Any]


class JobDesk:
    """The jobs as one principal may see them: of what a run did, their own tenant's part."""

    def __init__(self, db: Database, clock: Clock, principal: Principal, audit: AuditTrail) -> None:
        self._db = db
        self._audit = audit
        self._principal = principal
        self._clock = clock
        self._outbox = Outbox(db)
        self._runs = JobRuns(db)
        self._tenant_id = principal.tenant_id
        self._subject = principal.subject
        self._sees_all = principal == LOCAL_OPERATOR

    async def list(self) -> list[Body]:
        """All jobs, each with its newest run."""
        return [await self._body(job) for job in JOBS.values()]

    async def show(self, name: str, *, limit: int = 20) -> Body:
        """One job with its newest runs."""
        job = _job(name)
        runs = await self._runs.newest(self._tenant_id, job.name, limit=limit)
        shown = None if self._sees_all else self._tenant_id
        return await self._body(job) | {"runs": [run.body(shown) for run in runs]}

    async def run(self, name: str) -> Body:
        """Ask for a run; it begins a moment later, in whichever process runs jobs."""
        job = _job(name)
        task = Task(new_id("run"), job.name, self._tenant_id if job.of_tenant else DEPLOYMENT)
        async with self._db.batch() as batch:
            self._outbox.ask(batch, task)
            self._runs.add(batch, task, requested_by=self._subject)
            self._audit.record(batch, job_requested(self._principal, task.id, job.name))
        asked = await self._runs.find(task.id)
        assert asked is not None, "it was committed just now"
        return asked.body(self._tenant_id)

    async def _body(self, job: Job) -> Body:
        last = await self._runs.newest(self._tenant_id, job.name)
        shown = None if self._sees_all else self._tenant_id
        return {
            "name": job.name,
            "object": "job",
            "says": job.says,
            "schedule": None if job.schedule is None else str(job.schedule),
            "next_run_at": None if job.schedule is None else iso(job.schedule.next_after(self._clock.micros())),
            "last_run": last[0].body(shown) if last else None,
        }


def _job(name: str) -> Job:
    job = JOBS.get(name)
    if job is None:
        raise NotFound(f"there is no job {name!r}; there are {', '.join(JOBS)}", param="name")
    return job
