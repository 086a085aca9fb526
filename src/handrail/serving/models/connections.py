"""The HTTP connections to all providers: one pool a process."""

from dataclasses import dataclass

import aiohttp

from handrail.core.models import ModelUnavailable


@dataclass(frozen=True, slots=True)
class ConnectionSettings:
    """`limit` is the number of connections at once, 0 for no limit: admission control is the turn's, not the pool's.

    `proxy` is said outright; the environment is not read, because that costs a file read a call.
    """

    limit: int = 0
    keepalive_seconds: float = 30.0
    dns_cache_seconds: int = 60
    proxy: str | None = None


class ModelConnections:
    """One `aiohttp` session, made on the running loop at the first call and closed at shutdown."""

    def __init__(self, settings: ConnectionSettings = ConnectionSettings()) -> None:
        self._settings = settings
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    def session(self) -> aiohttp.ClientSession:
        if self._session is None:
            if self._closed:
                raise ModelUnavailable("the connections to the models are closed: this process is shutting down")
            self._session = self._open()
        return self._session

    async def close(self) -> None:
        self._closed = True
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()

    def _open(self) -> aiohttp.ClientSession:
        settings = self._settings
        connector = aiohttp.TCPConnector(
            limit=settings.limit,
            keepalive_timeout=settings.keepalive_seconds,
            ttl_dns_cache=settings.dns_cache_seconds,
        )
        return aiohttp.ClientSession(
            connector=connector,
            # A provider's cookies would travel from one user's call to the next.
            cookie_jar=aiohttp.DummyCookieJar(),
            proxy=settings.proxy,
        )
