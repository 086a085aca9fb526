"""One Valkey server, asked with short time-outs; once it failed, nobody asks until it answered in the background."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

T = TypeVar("T")
Client = Any  # redis.asyncio.Redis; the library's own types leave most results unknown.
TIMEOUT_SECONDS = 0.25
LOOK_SECONDS = 0.5


class Unreachable(Exception):
    """The server does not answer now; whoever asked goes on without it."""


class Valkey:
    """Build it, `start` it, `close` it.

    Args:
        url: `redis://` or `valkey://`, `rediss://` with TLS.
        on_change: told when it becomes reachable (True) and unreachable (False).
    """

    def __init__(
        self,
        url: str,
        *,
        on_change: Callable[[bool], None] | None = None,
        timeout_seconds: float = TIMEOUT_SECONDS,
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        # Here and not above: its client takes 17 MB, which a server that names none need not carry.
        from redis.asyncio import Redis
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff
        from redis.exceptions import RedisError

        self.failures: tuple[type[Exception], ...] = (RedisError, OSError, TimeoutError)
        self.is_up = False
        self._timeout = timeout_seconds
        self._look_every = look_seconds
        self._on_change = on_change
        self._looking: asyncio.Task[None] | None = None
        self._client: Client = Redis.from_url(  # pyright: ignore[reportUnknownMemberType]
            url.replace("valkey://", "redis://", 1).replace("valkeys://", "rediss://", 1),
            socket_timeout=timeout_seconds * 4,
            socket_connect_timeout=timeout_seconds * 4,
            # A connection that the server closed while it lay idle is replaced once, at once.
            retry=Retry(NoBackoff(), 1),
            max_connections=64,
        )

    @property
    def client(self) -> Client:
        """For reads that wait on purpose, which `ask` would cut off."""
        return self._client

    async def start(self) -> None:
        """Look whether it is there, and go on looking."""
        await self._look()
        self._looking = asyncio.get_running_loop().create_task(self._look_again())

    async def ask(self, question: Callable[[Client], Awaitable[T]]) -> T:
        """What the server answers.

        Raises:
            Unreachable: at once when it was not there at the last look, else after a short time-out.
        """
        if not self.is_up:
            raise Unreachable("Valkey did not answer when it was last asked")
        try:
            async with asyncio.timeout(self._timeout):
                return await question(self._client)
        except self.failures as error:
            self._became(False)
            raise Unreachable(f"Valkey did not answer: {error or type(error).__name__}") from error

    async def close(self) -> None:
        while self._looking is not None and not self._looking.done():
            # Not once: the client may swallow a cancellation that arrives together with an answer.
            self._looking.cancel()
            await asyncio.wait([self._looking], timeout=self._look_every)
        await self._client.aclose()

    async def _look_again(self) -> None:
        while True:
            await asyncio.sleep(self._look_every)
            await self._look()

    async def _look(self) -> None:
        try:
            # More patient than a turn may be: a server that is busy is not gone.
            async with asyncio.timeout(self._timeout * 4):
                await self._client.ping()
        except self.failures:
            self._became(False)
        else:
            self._became(True)

    def _became(self, is_up: bool) -> None:
        if is_up != self.is_up:
            self.is_up = is_up
            if self._on_change is not None:
                self._on_change(is_up)
