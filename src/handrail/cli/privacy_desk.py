"""Where the privacy commands get their work done: in the server that holds the data folder, or here."""

import asyncio
from typing import Any, BinaryIO
from urllib.parse import quote, urlencode

from handrail.bootstrap import services_from
from handrail.cli.local_server import LocalServer, held_by
from handrail.core.errors import HandrailError
from handrail.core.ids import new_id
from handrail.core.jobs import DEPLOYMENT, Task
from handrail.flows.access_request import told_of
from handrail.flows.erasure import erase
from handrail.flows.jobs import JOBS
from handrail.flows.log_export import LogRequest, anonymised_log
from handrail.protection.auth import LOCAL_OPERATOR
from handrail.settings import Settings

LOOK_SECONDS = 0.3
Body = dict[str, Any]


class JobFailed(HandrailError):
    """A job that a command waited for failed."""

    code = "job_failed"


async def run_job(settings: Settings, name: str) -> Body:
    """Run a job of the deployment to its end; what it reports."""
    async with held_by(settings) as server:
        if server is not None:
            return await _run_there(server, name)
        async with services_from(settings) as services:
            job, task, state = JOBS[name], Task(new_id("run"), name, DEPLOYMENT), dict[str, Any]()
            while not state.get("done"):
                state = dict(await job.page(services, task, state))
            return state["report"].get(DEPLOYMENT, {})


async def erase_subject(settings: Settings, subject: str, tenant: str | None) -> Body:
    """Erase a user, as the local operator."""
    async with held_by(settings) as server:
        if server is not None:
            body = {"subject": subject} | ({"tenant": tenant} if tenant else {})
            return await server.ask("POST", "/v1/erasures", body, seconds=600.0)
        async with services_from(settings) as services:
            return (await erase(services, LOCAL_OPERATOR, subject, tenant)).body()


async def export_subject(settings: Settings, subject: str, tenant: str | None) -> list[str]:
    """All that is stored of a user, a conversation a line."""
    async with held_by(settings) as server:
        if server is not None:
            query = urlencode({"subject": subject} | ({"tenant": tenant} if tenant else {}))
            return await server.lines(f"/v1/subjects/export?{query}")
        async with services_from(settings) as services:
            told = await told_of(services, LOCAL_OPERATOR, subject, tenant)
            return [line.decode().rstrip("\n") async for line in told]


async def save_log(settings: Settings, asked: dict[str, str], file: BinaryIO) -> None:
    """Write an anonymised log of the conversations to a file, a line at a time."""
    async with held_by(settings) as server:
        if server is not None:
            await server.save(f"/v1/conversation-log?{urlencode(asked)}", file)
            return
        async with services_from(settings) as services:
            async for line in await anonymised_log(services, LOCAL_OPERATOR, LogRequest.of(asked)):
                file.write(line)


async def _run_there(server: LocalServer, name: str) -> Body:
    asked = await server.ask("POST", f"/v1/jobs/{quote(name, safe='')}/runs")
    while True:
        shown = await server.ask("GET", f"/v1/jobs/{quote(name, safe='')}")
        run = next((each for each in shown["runs"] if each["id"] == asked["id"]), asked)
        if run["status"] == "failed":
            raise JobFailed(f"the job {name!r} failed: {(run['error'] or {}).get('message')}")
        if run["status"] == "completed":
            return (run["report"] or {}).get(DEPLOYMENT, {})
        await asyncio.sleep(LOOK_SECONDS)
