"""PostgreSQL by asyncpg: one transaction a batch, prepared statements kept by the driver."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import asyncpg

from handrail.core.clock import Clock, SystemClock
from handrail.db.batch import Batch, Conflict, OpenBatch, Row, StoreUnavailable
from handrail.db.prepared import DialectName, Prepared

_LOST = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    # The server is stopped, restarted, or has become a replica.
    asyncpg.OperatorInterventionError,
    asyncpg.ReadOnlySQLTransactionError,
    OSError,
    TimeoutError,
)


class PostgresDatabase:
    """A pool of connections. Build it with `await PostgresDatabase.connect(url)`."""

    dialect: ClassVar[DialectName] = "postgresql"

    def __init__(self, pool: Any, clock: Clock) -> None:
        self._pool = pool
        self._clock = clock

    @classmethod
    async def connect(cls, url: str, clock: Clock, *, connections: int = 10) -> "PostgresDatabase":
        try:
            pool = await asyncpg.create_pool(
                _driver_url(url), min_size=1, max_size=connections, command_timeout=30, timeout=10
            )
        except (*_LOST, asyncpg.PostgresError) as error:
            raise StoreUnavailable(f"can't reach PostgreSQL: {error or type(error).__name__}") from error
        return cls(pool, clock)

    def batch(self, *, long: bool = False) -> OpenBatch:
        return OpenBatch(self._commit, long=long)

    async def fetch_one(self, statement: Prepared, parameters: Mapping[str, Any]) -> Row | None:
        sql, values = statement.bind("postgresql", parameters)
        async with self._connection() as connection:
            return await connection.fetchrow(sql, *values)

    async def fetch_all(self, statement: Prepared, parameters: Mapping[str, Any]) -> Sequence[Row]:
        sql, values = statement.bind("postgresql", parameters)
        async with self._connection() as connection:
            return await connection.fetch(sql, *values)

    async def scan(self, statement: Prepared, parameters: Mapping[str, Any]) -> Sequence[Row]:
        return await self.fetch_all(statement, parameters)

    async def close(self) -> None:
        await self._pool.close()

    @asynccontextmanager
    async def _connection(self) -> AsyncGenerator[Any]:
        try:
            async with self._pool.acquire() as connection:
                if not isinstance(self._clock, SystemClock):
                    # For the session, reads included; the pool resets it when the connection comes back.
                    await connection.execute(f"SET handrail.now = '{self._clock.micros()}'")
                yield connection
        except asyncpg.IntegrityConstraintViolationError as error:
            raise Conflict(f"this is there already or refers to nothing: {error}") from error
        except (asyncpg.SerializationError, asyncpg.DeadlockDetectedError) as error:
            raise Conflict(f"somebody was faster; read again: {error}") from error
        except (*_LOST, asyncpg.InsufficientResourcesError) as error:
            raise StoreUnavailable(f"PostgreSQL did not answer ({error or type(error).__name__}); try again") from error

    async def _commit(self, batch: Batch) -> None:
        async with self._connection() as connection, connection.transaction():
            for statement, parameters, expect in batch.statements:
                sql, values = statement.bind("postgresql", parameters)
                status = await connection.execute(sql, *values)
                if expect is not None and (affected := int(status.rsplit(" ", 1)[-1])) != expect:
                    raise Conflict(f"expected {expect} row(s), {affected} matched: somebody was faster; read again")


def _driver_url(url: str) -> str:
    return url.replace("postgresql+asyncpg://", "postgresql://", 1)
