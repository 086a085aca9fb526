"""The HTTP connections to all providers: one pool a process, kept alive between calls."""

import asyncio
import ssl
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from handrail.core.models import ModelUnavailable
from handrail.egress import Egress
from handrail.serving.models.connection import Connection

NEXT_ADDRESS_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class ConnectionSettings:
    """`limit` is the number of connections at once, 0 for no limit: admission control is the turn's, not the pool's."""

    limit: int = 0
    keepalive_seconds: float = 30.0
    dns_cache_seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class Origin:
    """Where connections go: what they can be shared by."""

    host: str
    port: int
    is_tls: bool = False


@dataclass(frozen=True, slots=True)
class _Idle:
    connection: Connection
    since: float


@dataclass(frozen=True, slots=True)
class _Addresses:
    addresses: Sequence[tuple[str, int]]
    until: float


class ModelConnections:
    """Opened at need, given back when an answer was read to its end, closed when idle for long and at shutdown."""

    def __init__(self, settings: ConnectionSettings = ConnectionSettings(), egress: Egress | None = None) -> None:
        self._settings = settings
        self._egress = egress or Egress()
        self._idle: dict[Origin, deque[_Idle]] = {}
        self._in_use: set[Connection] = set()
        self._slots = asyncio.Semaphore(settings.limit) if settings.limit else None
        self._known: dict[Origin, _Addresses] = {}
        self._tls: ssl.SSLContext | None = None
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def in_use(self) -> int:
        return len(self._in_use)

    async def acquire(self, origin: Origin, *, within_seconds: float) -> Connection:
        """A connection for one call; give it back by `release`.

        Raises:
            TimeoutError: none was free or could be opened in time.
            OSError: the server can't be reached.
        """
        if self._closed:
            raise ModelUnavailable("the connections to the models are closed: this process is shutting down")
        connection = self._idle_to(origin) if self._slots is None else None
        if connection is None:
            async with asyncio.timeout(within_seconds):
                connection = await self._next(origin)
        self._in_use.add(connection)
        return connection

    def release(self, connection: Connection, origin: Origin) -> None:
        """The call is over; a connection whose answer was not read to its end is closed."""
        self._in_use.discard(connection)
        if self._slots is not None:
            self._slots.release()
        if connection.finish():
            self._keep(connection, origin)

    async def close(self) -> None:
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        for connection in [*self._in_use, *(each.connection for idle in self._idle.values() for each in idle)]:
            connection.close()
        self._idle.clear()
        # A closed transport lets go of its socket in the next round of the loop.
        await asyncio.sleep(0)

    async def _next(self, origin: Origin) -> Connection:
        if self._slots is None:
            return await self._open(origin)
        await self._slots.acquire()
        try:
            return self._idle_to(origin) or await self._open(origin)
        except BaseException:
            self._slots.release()
            raise

    def _idle_to(self, origin: Origin) -> Connection | None:
        """The connection that was used last, so that the others can grow old."""
        idle = self._idle.get(origin)
        while idle:
            found = idle.pop().connection
            if found.is_open:
                return found
        return None

    def _keep(self, connection: Connection, origin: Origin) -> None:
        if self._closed:
            connection.close()
            return
        loop = asyncio.get_running_loop()
        self._idle.setdefault(origin, deque()).append(_Idle(connection, loop.time()))
        if self._sweeper is None:
            self._sweeper = loop.call_later(self._settings.keepalive_seconds, self._sweep)

    def _sweep(self) -> None:
        """Close what has been idle for long; once in that time is often enough."""
        loop = asyncio.get_running_loop()
        before = loop.time() - self._settings.keepalive_seconds
        for origin, idle in list(self._idle.items()):
            while idle and (idle[0].since <= before or not idle[0].connection.is_open):
                idle.popleft().connection.close()
            if not idle:
                del self._idle[origin]
        self._sweeper = loop.call_later(self._settings.keepalive_seconds, self._sweep) if self._idle else None

    async def _open(self, origin: Origin) -> Connection:
        """Tries each address of the host; one that keeps silent must not use up the time of the others."""
        addresses = await self._addresses(origin)
        problem = OSError(f"{origin.host} has no address")
        for place, address in enumerate(addresses):
            is_last = place == len(addresses) - 1
            try:
                async with asyncio.timeout(None if is_last else NEXT_ADDRESS_SECONDS):
                    return await self._open_at(origin, address)
            except OSError as error:
                problem = error
        self._known.pop(origin, None)
        raise problem

    async def _open_at(self, origin: Origin, address: tuple[str, int]) -> Connection:
        tls: dict[str, Any] = {"ssl": self._tls_context(), "server_hostname": origin.host} if origin.is_tls else {}
        _, connection = await asyncio.get_running_loop().create_connection(Connection, *address, **tls)
        return connection

    async def _addresses(self, origin: Origin) -> Sequence[tuple[str, int]]:
        loop = asyncio.get_running_loop()
        known = self._known.get(origin)
        if known is not None and known.until > loop.time():
            return known.addresses
        # Whoever made the release named this host: it may lead inside, but never to the machine's own credentials.
        addresses = await self._egress.addresses(origin.host, origin.port, declared=True)
        until = loop.time() + self._settings.dns_cache_seconds
        self._known[origin] = _Addresses(addresses, until)
        return addresses

    def _tls_context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = ssl.create_default_context()
            self._tls.set_alpn_protocols(["http/1.1"])
        return self._tls
