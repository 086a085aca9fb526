"""A process that runs jobs, to be killed: `python -m tests.jobs.replica FOLDER URL EFFECTS SETTINGS`.

Each page of its job appends a line to EFFECTS, the world outside. SETTINGS is JSON: `page_seconds`, `slow_page` (one
that takes a minute here), `pages`, `protocol`, `every_second`, `ask` (a run to ask for), `die_after_asking`, `locked`
(false: it sweeps beside others that do).
"""

import asyncio
import json
import os
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from handrail.bootstrap import services_from
from handrail.core.jobs import DEPLOYMENT, Schedule, Task
from handrail.db import Conflict
from handrail.flows.jobs import Job
from handrail.flows.services import Services
from handrail.jobs import JobEngine, durable
from handrail.jobs.replicas import Timing
from handrail.jobs.sweep_lock import SweepLock
from handrail.protection.privacy import redact_event
from handrail.settings import Settings
from handrail.telemetry.logging import configure
from tests.jobs.engines import until

TIMING = Timing(beat=0.2, sweep=0.4, poll=0.3, silent_after=1.0, dead_after=2.0)


class EverySecond(Schedule):
    cron = "* * * * * *"  # pyright: ignore[reportAssignmentType]


class AlwaysHeld(SweepLock):
    @asynccontextmanager
    async def held(self) -> AsyncGenerator[bool]:
        yield True


def jobs(effects: Path, given: Mapping[str, Any]) -> dict[str, Job]:
    async def page(services: Services, task: Task, state: Mapping[str, Any]) -> Mapping[str, Any]:
        number = state.get("next", 1)
        with effects.open("a") as file:
            file.write(f"{task.id} {number} {os.getpid()}\n")
        await asyncio.sleep(60.0 if number == given.get("slow_page") else given.get("page_seconds", 0.0))
        return {"next": number + 1, "done": number >= given.get("pages", 5)}

    schedule = EverySecond(minute=0, hour=0) if given.get("every_second") else None
    return {"count": Job("count", "Count.", page, schedule)}


async def main(folder: Path, url: str | None, effects: Path, given: Mapping[str, Any]) -> None:
    configure(redact_event)
    durable.PROTOCOL = given.get("protocol", durable.PROTOCOL)
    settings = Settings(data_dir=folder, database_url=url)
    async with services_from(settings) as services:
        if run_id := given.get("ask"):
            try:
                async with services.db.batch() as batch:
                    services.background.outbox.ask(batch, Task(run_id, "count", DEPLOYMENT))
            except Conflict:
                pass
        if given.get("die_after_asking"):
            os._exit(9)
        engine = JobEngine(services, settings, jobs=jobs(effects, given), timing=TIMING)
        await engine.start()
        await until(lambda: engine.state == "running")
        if not given.get("locked", True):
            engine._lock = AlwaysHeld(settings.url)  # pyright: ignore[reportPrivateUsage]
        print("running", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2] or None, Path(sys.argv[3]), json.loads(sys.argv[4])))
