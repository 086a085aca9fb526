"""Where the switch commands get their answers: the database, or the server that holds it."""

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol
from urllib.parse import quote, urlencode

from handrail.bootstrap import services_from
from handrail.cli.desk import desk_at
from handrail.cli.local_server import LocalServer
from handrail.flows.services import Services
from handrail.flows.switches import SwitchWanted, doubt, switch_off, switch_on
from handrail.protection.auth import LOCAL_OPERATOR
from handrail.settings import Settings

Body = dict[str, Any]


class SwitchDesk(Protocol):
    """What the commands ask for; answers are API bodies."""

    async def switch_off(self, wanted: SwitchWanted) -> Body: ...
    async def switch_on(self, switch_id: str, reason: str | None) -> Body: ...
    async def list(self, status: str) -> list[Body]: ...


def open_desk(settings: Settings) -> AbstractAsyncContextManager[SwitchDesk]:
    """The database itself, unless a running server holds its folder: then that server is asked.

    On PostgreSQL the servers read the database within half a second.
    """
    return desk_at(settings, ServerDesk, _own)


@asynccontextmanager
async def _own(settings: Settings) -> AsyncGenerator[SwitchDesk]:
    async with services_from(settings) as services:
        yield LocalDesk(services)


class LocalDesk:
    """Works on the database itself, as the local operator."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def switch_off(self, wanted: SwitchWanted) -> Body:
        made = await switch_off(self._services, LOCAL_OPERATOR, wanted)
        return made.body() | {"warning": await doubt(self._services, LOCAL_OPERATOR, made)}

    async def switch_on(self, switch_id: str, reason: str | None) -> Body:
        return (await switch_on(self._services, LOCAL_OPERATOR, switch_id, reason)).body()

    async def list(self, status: str) -> list[Body]:
        found = await self._services.switch_store.newest(None, limit=200, ended_too=status == "all")
        return [each.body() for each in found]


class ServerDesk:
    """Asks the running server."""

    def __init__(self, server: LocalServer) -> None:
        self._server = server

    async def switch_off(self, wanted: SwitchWanted) -> Body:
        body = {
            "kind": wanted.kind,
            "name": wanted.name,
            "reason": wanted.reason,
            "tenant": wanted.tenant,
            "stop_running": wanted.stop_running,
        }
        return await self._server.ask("POST", "/v1/switches", body)

    async def switch_on(self, switch_id: str, reason: str | None) -> Body:
        query = f"?{urlencode({'reason': reason})}" if reason else ""
        return await self._server.ask("DELETE", f"/v1/switches/{quote(switch_id, safe='')}{query}")

    async def list(self, status: str) -> list[Body]:
        return (await self._server.ask("GET", f"/v1/switches?{urlencode({'status': status, 'limit': 200})}"))["data"]
