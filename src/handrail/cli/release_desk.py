"""Where the release commands get their answers from: the database of this folder, or the server that holds it."""

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote, urlencode

import typer

from handrail.bootstrap import services_from
from handrail.cli.desk import desk_at
from handrail.cli.local_server import LocalServer
from handrail.flows.release_desk import ReleaseDesk
from handrail.protection.auth import LOCAL_OPERATOR
from handrail.serving.routing import TrainingReport
from handrail.settings import Settings

Body = dict[str, Any]
TRAINING_SECONDS = 120.0


class Desk(Protocol):
    """What the commands ask for; answers are API bodies."""

    async def create(self, project: Path, note: str | None, author: str | None) -> Body: ...
    async def list(self, agent: str | None, limit: int) -> list[Body]: ...
    async def show(self, release_id: str) -> Body: ...
    async def diff(self, old: str, new: str | None, project: Path) -> Body: ...
    async def use(self, release_id: str) -> Body: ...


def open_desk(settings: Settings) -> AbstractAsyncContextManager[Desk]:
    """The database itself, unless a running server holds its folder: then that server is asked."""
    return desk_at(settings, ServerDesk, _own)


def begin_desk(settings: Settings) -> AbstractAsyncContextManager[Desk]:
    """The same, and a folder without data gets its database."""
    return desk_at(settings, ServerDesk, _own, makes=True)


@asynccontextmanager
async def _own(settings: Settings) -> AsyncGenerator[Desk]:
    async with services_from(settings) as services:
        yield ReleaseDesk(services.releases, LOCAL_OPERATOR, _say)


class ServerDesk:
    """Asks the running server."""

    def __init__(self, server: LocalServer) -> None:
        self._server = server

    async def create(self, project: Path, note: str | None, author: str | None) -> Body:
        body = {"project": str(project), "note": note, "author": author}
        return await self._server.ask("POST", "/v1/releases", body, seconds=TRAINING_SECONDS)

    async def list(self, agent: str | None, limit: int) -> list[Body]:
        query = {"limit": str(limit)} | ({"agent": agent} if agent else {})
        return (await self._server.ask("GET", f"/v1/releases?{urlencode(query)}"))["data"]

    async def show(self, release_id: str) -> Body:
        return await self._server.ask("GET", f"/v1/releases/{quote(release_id, safe='')}")

    async def diff(self, old: str, new: str | None, project: Path) -> Body:
        query = {"new": new} if new is not None else {"project": str(project)}
        return await self._server.ask("GET", f"/v1/releases/{quote(old, safe='')}/diff?{urlencode(query)}")

    async def use(self, release_id: str) -> Body:
        path = f"/v1/releases/{quote(release_id, safe='')}/use"
        return await self._server.ask("POST", path, seconds=TRAINING_SECONDS)


def _say(report: TrainingReport) -> None:
    typer.echo(f"intents: {report.sentence()}", err=True)
    for warning in report.warnings:
        typer.echo(f"intents: {warning}", err=True)
