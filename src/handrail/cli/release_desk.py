"""Where the release commands get their answers from: the database of this folder, opened for one command."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import typer

from handrail.core.principal import Principal, Role
from handrail.delivery.releases import (
    agent_body,
    diff,
    diff_body,
    files_body,
    git_state,
    read_sources,
    release_body,
)
from handrail.flows.releases import Releases
from handrail.serving.routing import TrainingReport
from handrail.settings import Settings

Body = dict[str, Any]
OPERATOR = Principal("default", "demo-operator", frozenset({Role.OPERATOR, Role.APPROVER}))


class Desk(Protocol):
    """What the commands ask for; answers are API bodies."""

    async def create(self, project: Path, note: str | None, author: str | None) -> Body: ...
    async def list(self, agent: str | None, limit: int) -> list[Body]: ...
    async def show(self, release_id: str) -> Body: ...
    async def diff(self, old: str, new: str | None, project: Path) -> Body: ...
    async def use(self, release_id: str) -> Body: ...


@asynccontextmanager
async def open_desk(settings: Settings) -> AsyncGenerator[Desk]:
    """The one place that decides how the commands reach the releases.

    Raises:
        AlreadyServed: a running server owns the data folder.
    """
    from handrail.bootstrap import services_from
    from handrail.db.owner import OwnerLock

    lock = OwnerLock(settings.data_dir) if settings.database_url is None else None
    if lock is not None:
        lock.acquire()
    try:
        async with services_from(settings) as services:
            yield LocalDesk(services.releases, OPERATOR)
    finally:
        if lock is not None:
            lock.release()


class LocalDesk:
    """Works on the database itself, in the name of the operator at this machine."""

    def __init__(self, releases: Releases, principal: Principal) -> None:
        self._releases = releases
        self._tenant_id = principal.tenant_id
        self._subject = principal.subject

    async def create(self, project: Path, note: str | None, author: str | None) -> Body:
        sources, git = await asyncio.to_thread(lambda: (read_sources(project), git_state(project)))
        made = await self._releases.create(
            self._tenant_id, sources, author=author or self._subject, note=note, git=git, on_trained=_say
        )
        return await self._body(made.id)

    async def list(self, agent: str | None, limit: int) -> list[Body]:
        stable = {each.stable_release_id for each in await self._releases.agents(self._tenant_id)}
        found = await self._releases.list(self._tenant_id, agent, limit)
        return [release_body(each, stable=each.id in stable) for each in found]

    async def show(self, release_id: str) -> Body:
        release = await self._releases.find(self._tenant_id, release_id)
        files = files_body(await self._releases.sources(self._tenant_id, release.id))
        return {**await self._body(release.id), "files": files}

    async def diff(self, old: str, new: str | None, project: Path) -> Body:
        before = await self._releases.find(self._tenant_id, old)
        if new is None:
            sources = await asyncio.to_thread(read_sources, project)
            changes = diff(await self._releases.sources(self._tenant_id, before.id), sources)
            return diff_body(before.id, sources.release_id, changes)
        after = await self._releases.find(self._tenant_id, new)
        return diff_body(before.id, after.id, await self._releases.diff(self._tenant_id, before.id, after.id))

    async def use(self, release_id: str) -> Body:
        release = await self._releases.find(self._tenant_id, release_id)
        return agent_body(await self._releases.use(self._tenant_id, release.id))

    async def _body(self, release_id: str) -> Body:
        release = await self._releases.find(self._tenant_id, release_id)
        stable = await self._releases.stable(self._tenant_id, release.agent)
        return release_body(release, stable=release.id == stable)


def _say(report: TrainingReport) -> None:
    typer.echo(f"intents: {report.sentence()}", err=True)
    for warning in report.warnings:
        typer.echo(f"intents: {warning}", err=True)
