"""Where the key commands get their answers: the database of this folder, or the server that holds it."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol
from urllib.parse import quote, urlencode

from handrail.cli.desk import desk_at, own_database
from handrail.cli.local_server import LocalServer
from handrail.core.clock import Clock
from handrail.core.principal import Role
from handrail.db import Batch, Database
from handrail.flows.keys import key_made, key_revoked, key_rotated
from handrail.flows.sign_in import LinkWanted, NobodySignsIn, add_link
from handrail.protection.audit import AuditTrail
from handrail.protection.auth import LOCAL_OPERATOR, ApiKey, KeyStore, SignInLinks
from handrail.settings import Settings

Body = dict[str, Any]
DAY_MICROS = 24 * 3600 * 1_000_000


class KeyDesk(Protocol):
    """What the commands ask for; answers are API bodies."""

    async def create(self, wanted: Mapping[str, Any]) -> Body:
        """`wanted` is the body of `POST /v1/keys`."""
        ...

    async def list(self, tenant: str) -> list[Body]: ...
    async def revoke(self, tenant: str, key_id: str) -> Body: ...

    async def rotate(self, tenant: str, key_id: str, grace_seconds: int) -> Body: ...
    async def link(self, wanted: Mapping[str, Any]) -> Body:
        """`wanted` is the body of `POST /v1/sign-in-links`."""
        ...

    @property
    def address(self) -> str:
        """Where the console is, as far as this machine knows."""
        ...


def open_desk(settings: Settings) -> AbstractAsyncContextManager[KeyDesk]:
    """The database itself, unless a running server holds its folder: then that server is asked."""
    return desk_at(settings, ServerDesk, _own)


def begin_desk(settings: Settings) -> AbstractAsyncContextManager[KeyDesk]:
    """The same, and a folder without data gets its database."""
    return desk_at(settings, ServerDesk, _own, makes=True)


@asynccontextmanager
async def _own(settings: Settings) -> AsyncGenerator[KeyDesk]:
    async with own_database(settings) as (db, clock, audit):
        yield LocalDesk(settings, db, clock, audit)


class LocalDesk:
    """Works on the database itself."""

    def __init__(self, settings: Settings, db: Database, clock: Clock, audit: AuditTrail) -> None:
        self._db = db
        self._keys = KeyStore(db)
        self._audit = audit
        self._clock = clock
        self._takes_tokens = bool(settings.auth.keys or settings.auth.secret)
        host = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host  # noqa: S104 - read, not bound
        self.address = f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"

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
            teams=wanted["teams"],
            beside=lambda batch, key: self._audit.record(batch, key_made(LOCAL_OPERATOR, key)),
        )
        return created.body()

    async def list(self, tenant: str) -> list[Body]:
        return [key.body() for key in await self._keys.list(tenant)]

    async def revoke(self, tenant: str, key_id: str) -> Body:
        entry = key_revoked(LOCAL_OPERATOR, tenant, key_id)
        revoked = await self._keys.revoke(
            tenant, key_id, at=self._clock.micros(), beside=lambda batch: self._audit.record(batch, entry)
        )
        return revoked.body()

    async def rotate(self, tenant: str, key_id: str, grace_seconds: int) -> Body:
        def beside(batch: Batch, old: ApiKey, new: ApiKey) -> None:
            self._audit.record(batch, key_rotated(LOCAL_OPERATOR, old, new))

        at = self._clock.micros()
        made = await self._keys.rotate(tenant, key_id, at=at, grace_seconds=grace_seconds, beside=beside)
        return made.body()

    async def link(self, wanted: Mapping[str, Any]) -> Body:
        if not self._takes_tokens and not await self._keys.exist():
            raise NobodySignsIn()
        roles = [Role(role) for role in wanted["roles"]]
        link = LinkWanted(wanted["subject"], roles, wanted["tenant"])
        at = self._clock.micros()
        return (await add_link(self._db, SignInLinks(self._db), self._audit, LOCAL_OPERATOR, link, at)).body()


class ServerDesk:
    """Asks the running server."""

    def __init__(self, server: LocalServer) -> None:
        self._server = server
        self.address = server.address

    async def create(self, wanted: Mapping[str, Any]) -> Body:
        return await self._server.ask("POST", "/v1/keys", dict(wanted))

    async def list(self, tenant: str) -> list[Body]:
        return (await self._server.ask("GET", f"/v1/keys?{urlencode({'tenant': tenant})}"))["data"]

    async def revoke(self, tenant: str, key_id: str) -> Body:
        query = urlencode({"tenant": tenant})
        return await self._server.ask("DELETE", f"/v1/keys/{quote(key_id, safe='')}?{query}")

    async def rotate(self, tenant: str, key_id: str, grace_seconds: int) -> Body:
        path = f"/v1/keys/{quote(key_id, safe='')}/rotate?{urlencode({'tenant': tenant})}"
        return await self._server.ask("POST", path, {"grace_seconds": grace_seconds})

    async def link(self, wanted: Mapping[str, Any]) -> Body:
        return await self._server.ask("POST", "/v1/sign-in-links", dict(wanted))
