"""PostgreSQL by asyncpg: one transaction a batch, prepared statements kept by the driver.

Closed: a use that gets no answer in time, or that the guard refuses, is `StoreUnavailable`.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import asyncpg

from handrail.core.clock import Clock, SystemClock
from handrail.db.batch import Batch, Conflict, NotStorable, OpenBatch, Row, StoreUnavailable
from handrail.db.guard import StoreGuard, Unguarded
from handrail.db.prepared import DialectName, Prepared

# For reads and batches that may be long; the connections of the pool have the same limit.
LONG_SECONDS = 30.0
SCRUB_SECONDS = 600.0
_LOST = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    # Of a connection that broke in the middle of an operation and is given back.
    asyncpg.InternalClientError,
    # The server is stopped, restarted, or has become a replica.
    asyncpg.OperatorInterventionError,
    asyncpg.ReadOnlySQLTransactionError,
    OSError,
    TimeoutError,
)


class PostgresDatabase:
    """A pool of connections. Build it with `await PostgresDatabase.connect(url)`.

    Args:
        seconds: how long a short read or a batch may take, the wait for a connection included.
        guard: asked before each use, so that a dead server is not waited for by everybody.
    """

    dialect: DialectName = "postgresql"

    def __init__(
        self,
        pool: Any,
        clock: Clock,
        *,
        given_back: "_GivenBack",
        seconds: float = 10.0,
        guard: StoreGuard = Unguarded,
    ) -> None:
        self._pool = pool
        self._clock = clock
        self._seconds = seconds
        self._guard = guard
        self._given_back = given_back
        self._is_closed = False
        self._uses = 0
        self._unused = asyncio.Event()
        self._unused.set()

    @classmethod
    async def connect(
        cls, url: str, clock: Clock, *, connections: int = 10, seconds: float = 10.0, guard: StoreGuard = Unguarded
    ) -> "PostgresDatabase":
        given_back = _GivenBack(changes_sessions=not isinstance(clock, SystemClock))
        try:
            pool = await asyncpg.create_pool(
                _driver_url(url),
                min_size=1,
                max_size=connections,
                command_timeout=LONG_SECONDS,
                timeout=10,
                reset=given_back,
            )
        except (*_LOST, asyncpg.PostgresError) as error:
            raise StoreUnavailable(f"can't reach PostgreSQL: {error or type(error).__name__}") from error
        return cls(pool, clock, seconds=seconds, guard=guard, given_back=given_back)

    def batch(self, *, long: bool = False) -> OpenBatch:
        return OpenBatch(self._commit, long=long)

    async def fetch_one(self, statement: Prepared, parameters: Mapping[str, Any]) -> Row | None:
        sql, values = statement.bind("postgresql", parameters)
        async with self._connection(self._seconds) as connection:
            return await connection.fetchrow(sql, *values)

    async def fetch_all(self, statement: Prepared, parameters: Mapping[str, Any]) -> Sequence[Row]:
        return await self._fetch_all(statement, parameters, self._seconds)

    async def scan(self, statement: Prepared, parameters: Mapping[str, Any]) -> Sequence[Row]:
        return await self._fetch_all(statement, parameters, LONG_SECONDS)

    async def _fetch_all(self, statement: Prepared, parameters: Mapping[str, Any], seconds: float) -> Sequence[Row]:
        sql, values = statement.bind("postgresql", parameters)
        async with self._connection(seconds) as connection:
            return await connection.fetch(sql, *values)

    async def scrub(self, *tables: str, rewrite: bool = False, log_only: bool = False) -> None:
        for table in tables:
            async with self._connection(SCRUB_SECONDS) as connection:
                await connection.execute(f"VACUUM {'(FULL) ' if rewrite else ''}{table}", timeout=SCRUB_SECONDS)

    async def close(self) -> None:
        """Finish what has begun: the pool would wait for whoever has a connection, and not for who is getting one."""
        self._is_closed = True
        await self._unused.wait()
        await self._pool.close()

    @contextmanager
    def _use(self) -> Generator[None]:
        if self._is_closed:
            raise StoreUnavailable("the database is closed; the server is shutting down")
        self._uses += 1
        self._unused.clear()
        try:
            yield
        finally:
            self._uses -= 1
            if not self._uses:
                self._unused.set()

    @asynccontextmanager
    async def _connection(self, seconds: float) -> AsyncGenerator[Any]:
        """A connection for so long, its use reported to the guard."""
        permit, began = self._guard(), time.monotonic()
        try:
            with self._use():
                async with self._named_errors(seconds) as connection:
                    yield connection
        except StoreUnavailable:
            permit.failure(time.monotonic() - began)
            raise
        except Conflict:
            permit.success(time.monotonic() - began)
            raise
        else:
            permit.success(time.monotonic() - began)
        finally:
            # Unless it was reported: whatever else ended it says nothing about the server.
            permit.cancelled()

    @asynccontextmanager
    async def _named_errors(self, seconds: float) -> AsyncGenerator[Any]:
        try:
            async with asyncio.timeout(seconds), self._pool.acquire(timeout=seconds) as connection:
                with self._given_back.watching(connection):
                    if not isinstance(self._clock, SystemClock):
                        # For the session, reads included; the pool resets it when the connection comes back.
                        await connection.execute(f"SET handrail.now = '{self._clock.micros()}'")
                    yield connection
        except asyncpg.IntegrityConstraintViolationError as error:
            raise Conflict(f"this is there already or refers to nothing: {_kind(error)}") from error
        except (asyncpg.SerializationError, asyncpg.DeadlockDetectedError) as error:
            raise Conflict(f"somebody was faster; read again: {_kind(error)}") from error
        except asyncpg.DataError as error:
            raise NotStorable(f"PostgreSQL can't hold a value that was to be written: {_kind(error)}") from error
        except (*_LOST, asyncpg.InsufficientResourcesError) as error:
            raise StoreUnavailable(f"PostgreSQL did not answer ({error or type(error).__name__}); try again") from error

    async def _commit(self, batch: Batch) -> None:
        seconds = LONG_SECONDS if batch.is_long else self._seconds
        async with self._connection(seconds) as connection, connection.transaction():
            for statement, parameters, expect in batch.statements:
                sql, values = statement.bind("postgresql", parameters)
                status = await connection.execute(sql, *values)
                if expect is not None and (affected := int(status.rsplit(" ", 1)[-1])) != expect:
                    raise Conflict(f"expected {expect} row(s), {affected} matched: somebody was faster; read again")


class _GivenBack:
    """What is done with a connection that comes back to the pool: nothing, for nothing of its session is changed.

    To make it as new is a second question each time. That is asked where a use was cut short, whose end may still be
    under way and would end the next one's.
    """

    def __init__(self, *, changes_sessions: bool) -> None:
        self._changes_sessions = changes_sessions
        self._cut_short: set[int] = set()

    async def __call__(self, connection: Any) -> None:
        backend = connection.get_server_pid()
        if self._changes_sessions or backend in self._cut_short:
            self._cut_short.discard(backend)
            await connection.execute(connection.get_reset_query())

    @contextmanager
    def watching(self, connection: Any) -> Generator[None]:
        try:
            yield
        except BaseException:
            if not connection.is_closed():
                self._cut_short.add(connection.get_server_pid())
            raise


def _kind(error: asyncpg.PostgresError) -> str:
    """What went wrong without the values it went wrong with, which PostgreSQL tells: they may be anybody's words."""
    name = getattr(error, "constraint_name", None)
    return f"{type(error).__name__} of {name}" if name else type(error).__name__


def _driver_url(url: str) -> str:
    return url.replace("postgresql+asyncpg://", "postgresql://", 1)
