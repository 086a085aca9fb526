"""Where the key commands get their answers: the database of this folder, or the server that holds it."""

import asyncio
import http.client
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Protocol
from urllib.parse import quote, urlencode, urlsplit

from handrail.core import json
from handrail.core.clock import SystemClock
from handrail.core.errors import HandrailError, UsageError
from handrail.core.principal import Role
from handrail.db.open import open_database
from handrail.db.owner import AlreadyServed, OwnerLock
from handrail.protection.auth import KeyStore, operator_token
from handrail.settings import Settings

Body = dict[str, Any]
DAY_MICROS = 24 * 3600 * 1_000_000
TIMEOUT_SECONDS = 10.0


class ServerRefused(UsageError):
    """The running server did not do what was asked; the message is its own."""

    code = "server_refused"


class KeyDesk(Protocol):
    """What the commands ask for; answers are API bodies."""

    async def create(self, wanted: Mapping[str, Any]) -> Body:
        """`wanted` is the body of `POST /v1/keys`."""
        ...

    async def list(self, tenant: str) -> list[Body]: ...
    async def revoke(self, tenant: str, key_id: str) -> Body: ...


@asynccontextmanager
async def open_desk(settings: Settings) -> AsyncGenerator[KeyDesk]:
    """The database itself, unless a running server holds its folder: then that server is asked.

    Raises:
        AlreadyServed: a process holds the folder and does not say where it listens.
    """
    if settings.database_url is not None:
        async with _local(settings) as desk:
            yield desk
        return
    lock = OwnerLock(settings.data_dir)
    try:
        lock.acquire()
    except AlreadyServed as held:
        if held.address is None:
            raise
        yield ServerDesk(held.address, operator_token(settings.data_dir))
        return
    try:
        async with _local(settings) as desk:
            yield desk
    finally:
        lock.release()


@asynccontextmanager
async def _local(settings: Settings) -> AsyncGenerator[KeyDesk]:
    clock = SystemClock()
    db = await open_database(settings.url, clock)
    try:
        yield LocalDesk(KeyStore(db), clock)
    finally:
        await db.close()


class LocalDesk:
    """Works on the database itself."""

    def __init__(self, keys: KeyStore, clock: SystemClock) -> None:
        self._keys = keys
        self._clock = clock

    async def create(self, wanted: Mapping[str, Any]) -> Body:
        at = self._clock.micros()
        days = wanted["expires_in_days"]
        created = await self._keys.create(
            tenant_id=wanted["tenant"],
            subject=wanted["subject"],
            role=Role(wanted["role"]),
            scopes=wanted["scopes"],
            at=at,
            expires_at=at + days * DAY_MICROS if days else None,
            note=wanted["note"],
        )
        return created.body()

    async def list(self, tenant: str) -> list[Body]:
        return [key.body() for key in await self._keys.list(tenant)]

    async def revoke(self, tenant: str, key_id: str) -> Body:
        return (await self._keys.revoke(tenant, key_id, at=self._clock.micros())).body()


class ServerDesk:
    """Asks a running server on this machine, as its local operator."""

    def __init__(self, address: str, token: str) -> None:
        self._address = address
        self._token = token

    async def create(self, wanted: Mapping[str, Any]) -> Body:
        return await self._ask("POST", "/v1/keys", dict(wanted))

    async def list(self, tenant: str) -> list[Body]:
        return (await self._ask("GET", f"/v1/keys?{urlencode({'tenant': tenant})}"))["data"]

    async def revoke(self, tenant: str, key_id: str) -> Body:
        return await self._ask("DELETE", f"/v1/keys/{quote(key_id, safe='')}?{urlencode({'tenant': tenant})}")

    async def _ask(self, method: str, path: str, body: Body | None = None) -> Body:
        status, content = await asyncio.to_thread(self._send, method, path, body)
        try:
            answer = json.loads(content)
        except ValueError:
            answer = None
        if isinstance(answer, dict) and status < 300:
            return answer
        error = answer.get("error") if isinstance(answer, dict) else None
        said = error.get("message") if isinstance(error, dict) else f"status {status}"
        raise ServerRefused(f"the server at {self._address} said: {said}")

    def _send(self, method: str, path: str, body: Body | None) -> tuple[int, bytes]:
        # http.client and not urllib.request: that one would hand the operator's token to a proxy of the environment.
        parts = urlsplit(self._address)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=TIMEOUT_SECONDS)
        headers = {"authorization": f"Bearer {self._token}"}
        if body is not None:
            headers["content-type"] = "application/json"
        try:
            connection.request(method, path, None if body is None else json.dumps(body).encode(), headers)
            response = connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException) as error:
            raise HandrailError(
                f"the server at {self._address} holds this data folder and does not answer ({error}); "
                "try again, or stop it first"
            ) from error
        finally:
            connection.close()
