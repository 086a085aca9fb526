"""What operators do with releases, as API bodies: the same for the HTTP API and for the command line."""

import asyncio
from pathlib import Path
from typing import Any

from handrail.core.principal import Principal
from handrail.delivery.releases import (
    agent_body,
    diff,
    diff_body,
    files_body,
    git_state,
    read_sources,
    release_body,
)
from handrail.flows.releases import OnTrained, Releases

Body = dict[str, Any]


class ReleaseDesk:
    """The releases of one principal's tenant."""

    def __init__(self, releases: Releases, principal: Principal, on_trained: OnTrained | None = None) -> None:
        self._releases = releases
        self._tenant_id = principal.tenant_id
        self._principal = principal
        self._on_trained = on_trained

    async def create(self, project: Path, note: str | None, author: str | None) -> Body:
        """Check a project on this machine's disk and keep a snapshot of it; runs its code."""
        sources, git = await asyncio.to_thread(lambda: (read_sources(project), git_state(project)))
        made = await self._releases.create(
            self._tenant_id,
            sources,
            author=author or self._principal.subject,
            note=note,
            git=git,
            on_trained=self._on_trained,
            by=self._principal,
        )
        return await self._body(made.id)

    async def list(self, agent: str | None, limit: int) -> list[Body]:
        """Newest first."""
        stable = {each.stable_release_id for each in await self._releases.agents(self._tenant_id)}
        found = await self._releases.list(self._tenant_id, agent, limit)
        return [release_body(each, stable=each.id in stable) for each in found]

    async def show(self, release_id: str) -> Body:
        """The record and the files."""
        release = await self._releases.find(self._tenant_id, release_id)
        files = files_body(await self._releases.sources(self._tenant_id, release.id))
        return {**await self._body(release.id), "files": files}

    async def diff(self, old: str, new: str | None, project: Path) -> Body:
        """What `new`, or without it the project on this machine's disk, changes against `old`."""
        before = await self._releases.find(self._tenant_id, old)
        if new is None:
            sources = await asyncio.to_thread(read_sources, project)
            changes = diff(await self._releases.sources(self._tenant_id, before.id), sources)
            return diff_body(before.id, sources.release_id, changes)
        after = await self._releases.find(self._tenant_id, new)
        return diff_body(before.id, after.id, await self._releases.diff(self._tenant_id, before.id, after.id))

    async def use(self, release_id: str) -> Body:
        """Let the release answer all new conversations of its agent."""
        release = await self._releases.find(self._tenant_id, release_id)
        return agent_body(await self._releases.use(self._tenant_id, release.id, by=self._principal))

    async def _body(self, release_id: str) -> Body:
        release = await self._releases.find(self._tenant_id, release_id)
        stable = await self._releases.stable(self._tenant_id, release.agent)
        return release_body(release, stable=release.id == stable)
