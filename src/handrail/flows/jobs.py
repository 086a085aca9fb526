"""The jobs: what runs in the background, when, and which flow it is.

A job works page by page. What a page returns is stored before the next one begins, so a process that dies costs one
page; that page runs again, therefore each is written to be repeated.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from handrail.core.jobs import Schedule, Task
from handrail.flows.digest import digest_page
from handrail.flows.encryption import renew_page, rewrap_page, seal_page
from handrail.flows.export import export_page
from handrail.flows.log_export import log_page
from handrail.flows.retention import forget_page, sweep_keys, sweep_runs
from handrail.flows.rollup import sweep_minutes
from handrail.flows.services import Services
from handrail.flows.unused_keys import collect_keys

# What is done so far, as JSON: `{}` at first; `done` ends the job, `report` says by tenant what it did.
State = Mapping[str, Any]
Page = Callable[[Services, Task, State], Awaitable[State]]


@dataclass(frozen=True, slots=True)
class Job:
    """Without a schedule it runs only when somebody asks. `of_tenant`: it works for the tenant of who asked."""

    name: str
    says: str
    page: Page
    schedule: Schedule | None = None
    of_tenant: bool = False


_ALL = (
    Job("idempotency_keys", "Forget idempotency keys that are over a day old.", sweep_keys, Schedule(minute=7)),
    Job("retention", "Delete what is older than the deployment keeps it.", forget_page, Schedule(minute=20, hour=3)),
    Job("minutes", "Forget sums by the minute after three days.", sweep_minutes, Schedule(minute=37)),
    Job(
        "unused_keys", "Destroy data keys of users of whom nothing is left.", collect_keys, Schedule(minute=40, hour=3)
    ),
    Job("digest", "Tell the channels what the agents did, each day or week.", digest_page, Schedule(minute=5, hour=6)),
    Job(
        "conversation_log",
        "Write an anonymised log of what was said, each day or week.",
        log_page,
        Schedule(minute=20, hour=4),
    ),
    Job("job_rows", "Forget runs of jobs that ended long ago.", sweep_runs, Schedule(minute=50, hour=3)),
    Job("encryption", "Seal content that lies readable or under a retired key; rewrite the files.", seal_page),
    Job("master_key", "Put every data key under the current master key.", rewrap_page),
    Job("data_keys", "Give every user a new data key; `encryption` then seals all content with it.", renew_page),
    Job("export_conversations", "Write all conversations to a file of JSON lines.", export_page, of_tenant=True),
)
JOBS: Mapping[str, Job] = {job.name: job for job in _ALL}
