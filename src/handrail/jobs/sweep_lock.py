"""Which of several processes looks after the runs of the dead."""

from contextlib import suppress

import asyncpg

SWEEP_LOCK = 712047


class SweepLock:
    """Held by one process of all, on a connection of its own; the database lets go of it when that one dies."""

    def __init__(self, url: str) -> None:
        self._url = url.replace("postgresql+asyncpg://", "postgresql://", 1)
        self._connection: asyncpg.Connection | None = None
        self._held = False

    async def hold(self) -> bool:
        """Whether this process is the one; False also when the database does not answer."""
        try:
            connection = self._connection
            if connection is None or connection.is_closed():
                self._held = False
                connection = self._connection = await asyncpg.connect(self._url, timeout=10, command_timeout=10)
            if self._held:
                await connection.fetchval("SELECT 1")
            else:
                self._held = bool(await connection.fetchval("SELECT pg_try_advisory_lock($1)", SWEEP_LOCK))
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            await self.close()
        return self._held

    async def close(self) -> None:
        connection, self._connection, self._held = self._connection, None, False
        if connection is not None:
            with suppress(OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
                await connection.close(timeout=2)
