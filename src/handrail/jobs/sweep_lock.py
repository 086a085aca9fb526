"""Which of several processes looks after the runs of the dead, this time."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

import asyncpg

SWEEP_LOCK = 712047
_LOST = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)


class SweepLock:
    """Held for one sweep only: a process that is stopped for long, and not dead, must not keep others from sweeping.

    One that is stopped within its sweep loses the lock when the database ends its idle transaction.
    """

    def __init__(self, url: str) -> None:
        self._url = url.replace("postgresql+asyncpg://", "postgresql://", 1)
        self._connection: asyncpg.Connection | None = None

    @asynccontextmanager
    async def held(self) -> AsyncGenerator[bool]:
        """Whether this process sweeps now; False also when the database does not answer."""
        connection = await self._begun()
        yield connection is not None
        if connection is not None:
            try:
                await connection.execute("COMMIT")
            except _LOST:
                await self.close()

    async def _begun(self) -> asyncpg.Connection | None:
        try:
            connection = self._connection
            if connection is None or connection.is_closed():
                connection = self._connection = await asyncpg.connect(self._url, timeout=10, command_timeout=10)
            await connection.execute("BEGIN; SET LOCAL idle_in_transaction_session_timeout = '10s'")
            if await connection.fetchval("SELECT pg_try_advisory_xact_lock($1)", SWEEP_LOCK):
                return connection
            await connection.execute("COMMIT")
        except _LOST:
            await self.close()
        return None

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(*_LOST):
                await connection.close(timeout=2)
