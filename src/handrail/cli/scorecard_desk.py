"""Where the scorecard commands get their answers from: the database of this folder, or the server that holds it."""

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol
from urllib.parse import urlencode

from handrail.bootstrap import services_from
from handrail.cli.desk import desk_at
from handrail.cli.local_server import LocalServer
from handrail.core.times import micros_of
from handrail.flows.scorecard import ScorecardDesk, scorecards
from handrail.flows.scorecard_body import baseline_body, scorecard_body
from handrail.protection.auth import LOCAL_OPERATOR
from handrail.settings import Settings

Body = dict[str, Any]


class Desk(Protocol):
    """What the commands ask for; answers are API bodies."""

    async def report(self, wanted: Body) -> Body: ...
    async def record(self, wanted: Body) -> Body: ...
    async def baselines(self, agent: str | None) -> list[Body]: ...


def open_desk(settings: Settings) -> AbstractAsyncContextManager[Desk]:
    """The database itself, unless a running server holds its folder: then that server is asked."""
    return desk_at(settings, _ServerDesk, _own)


@asynccontextmanager
async def _own(settings: Settings) -> AsyncGenerator[Desk]:
    async with services_from(settings) as services:
        yield _OwnDesk(scorecards(services, LOCAL_OPERATOR))


class _OwnDesk:
    """Opens the folder itself."""

    def __init__(self, desk: ScorecardDesk) -> None:
        self._desk = desk

    async def report(self, wanted: Body) -> Body:
        return scorecard_body(await self._desk.report(**_timed(wanted)))

    async def record(self, wanted: Body) -> Body:
        return baseline_body(await self._desk.record_baseline(**_timed(wanted)))

    async def baselines(self, agent: str | None) -> list[Body]:
        return [baseline_body(each) for each in await self._desk.baselines(agent)]


class _ServerDesk:
    """Asks the running server."""

    def __init__(self, server: LocalServer) -> None:
        self._server = server

    async def report(self, wanted: Body) -> Body:
        return await self._server.ask("GET", f"/v1/scorecard?{urlencode(wanted)}")

    async def record(self, wanted: Body) -> Body:
        return await self._server.ask("POST", "/v1/scorecard/baselines", wanted)

    async def baselines(self, agent: str | None) -> list[Body]:
        query = f"?{urlencode({'agent': agent})}" if agent else ""
        return (await self._server.ask("GET", f"/v1/scorecard/baselines{query}"))["data"]


def _timed(wanted: Body) -> Body:
    return wanted | {name: micros_of(name, wanted[name]) for name in ("since", "until") if name in wanted}
