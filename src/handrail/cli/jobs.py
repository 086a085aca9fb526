"""`handrail jobs`: what runs in the background, how it went, and run it now."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol, TypeVar

import typer

if TYPE_CHECKING:
    from handrail.cli.local_server import LocalServer
    from handrail.settings import Settings

T = TypeVar("T")
app = typer.Typer(no_args_is_help=True)
Body = dict[str, Any]

DataDir = Annotated[Path | None, typer.Option("--data-dir", help="Where data lives (default .handrail).")]
DatabaseUrl = Annotated[str | None, typer.Option(help="postgresql://... instead of SQLite in the data folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Name = Annotated[str, typer.Argument(help="A job's name, as `handrail jobs list` shows it.")]


class Desk(Protocol):
    """What the commands ask for; answers are API bodies."""

    async def list(self) -> list[Body]: ...
    async def show(self, name: str) -> Body: ...
    async def run(self, name: str) -> Body: ...


@app.command("list")
def list_(data_dir: DataDir = None, database_url: DatabaseUrl = None, as_json: AsJson = False) -> None:
    """List the jobs: when they run next, and how the last run went."""
    found = _ask(lambda desk: desk.list(), data_dir, database_url)
    _print({"data": found, "next_cursor": None}, as_json, [_job_line(job) for job in found])


@app.command()
def show(name: Name, data_dir: DataDir = None, database_url: DatabaseUrl = None, as_json: AsJson = False) -> None:
    """Show a job and its newest runs."""
    job = _ask(lambda desk: desk.show(name), data_dir, database_url)
    runs = [_run_line(run) for run in job["runs"]] or [f"no run yet; `handrail jobs run {name}` asks for one"]
    _print(job, as_json, [_job_line(job), job["says"], *runs])


@app.command()
def run(name: Name, data_dir: DataDir = None, database_url: DatabaseUrl = None, as_json: AsJson = False) -> None:
    """Ask for a run now; without a running server it begins when one starts."""
    asked = _ask(lambda desk: desk.run(name), data_dir, database_url)
    _print(asked, as_json, [f"{asked['id']}: {name} is asked for; `handrail jobs show {name}` tells how it went"])


def _ask(question: Callable[[Desk], Awaitable[T]], data_dir: Path | None, database_url: str | None) -> T:
    from handrail.cli.desk import ask, desk_at

    return ask(lambda settings: desk_at(settings, _ServerDesk, _own), question, data_dir, database_url)


@asynccontextmanager
async def _own(settings: "Settings") -> AsyncGenerator[Desk]:
    from handrail.cli.desk import own_database
    from handrail.flows.job_desk import JobDesk
    from handrail.protection.auth import LOCAL_OPERATOR

    async with own_database(settings) as (db, clock, audit):
        yield JobDesk(db, clock, LOCAL_OPERATOR, audit)


class _ServerDesk:
    """Asks the running server."""

    def __init__(self, server: "LocalServer") -> None:
        self._server = server

    async def list(self) -> list[Body]:
        return (await self._server.ask("GET", "/v1/jobs"))["data"]

    async def show(self, name: str) -> Body:
        return await self._server.ask("GET", f"/v1/jobs/{_quoted(name)}")

    async def run(self, name: str) -> Body:
        return await self._server.ask("POST", f"/v1/jobs/{_quoted(name)}/runs")


def _quoted(name: str) -> str:
    from urllib.parse import quote

    return quote(name, safe="")


def _job_line(job: Body) -> str:
    last = job["last_run"]
    went = (
        f"last {last['status']} {last['ended_at'] or last['started_at'] or last['created_at']}"
        if last
        else "no run yet"
    )
    planned = f"{job['schedule']}, next {job['next_run_at']}" if job["schedule"] else "only when asked for"
    return f"{job['name']}  {planned}  {went}"


def _run_line(run: Body) -> str:
    from handrail.core import json

    who = f" for {run['requested_by']}" if run["requested_by"] else ""
    error = f"  {run['error']['code']}: {run['error']['message']}" if run["error"] else ""
    did = f"  {json.dumps(run['report'])}" if run["report"] else ""
    times = f"{run['created_at']} to {run['ended_at'] or 'now'}"
    return f"{run['id']}  {run['status']}{who}  {times}  attempts {run['attempts']}{did}{error}"


def _print(body: Any, as_json: bool, lines: list[str]) -> None:
    from handrail.core import json

    typer.echo(json.dumps(body) if as_json else "\n".join(lines))
