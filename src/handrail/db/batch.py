"""What both databases promise: atomic batches and plain reads."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from handrail.core.errors import HandrailError
from handrail.db.prepared import DialectName, Prepared

Row = Mapping[str, Any]
# A database that was restarted or has failed over is back in seconds; a full disk takes a person.
AGAIN_SECONDS = 2.0
AFTER_REPAIR_SECONDS = 30.0


class Conflict(HandrailError):
    """A batch found the world changed: an expected row was missing, or a unique row was there already.

    Nothing of the batch happened; other batches of the same commit did.
    """

    code = "conflict"
    retryable = True


class StoreUnavailable(HandrailError):
    """The database can't be reached, is full, or refused; nothing of the batch happened."""

    code = "store_unavailable"
    retryable = True

    def __init__(self, message: str, *, retry_after_seconds: float | None = AGAIN_SECONDS) -> None:
        super().__init__(message, retry_after_seconds=retry_after_seconds)


class NotStorable(HandrailError):
    """A value has no place in its column, such as a number that is too large; nothing of the batch happened."""

    code = "not_storable"


class WrongDatabase(HandrailError):
    """The database at this address is not one that this version can use."""

    code = "wrong_database"


class Batch:
    """Statements that happen together or not at all; `is_long` when one of them may touch many rows."""

    __slots__ = ("is_long", "statements")

    def __init__(self, *, long: bool = False) -> None:
        self.is_long = long
        self.statements: list[tuple[Prepared, Mapping[str, Any], int | None]] = []

    def add(self, statement: Prepared, parameters: Mapping[str, Any], *, expect: int | None = None) -> None:
        """Append a statement; with `expect`, another number of affected rows raises `Conflict`."""
        self.statements.append((statement, parameters, expect))


class OpenBatch:
    """The block in which a batch is collected; leaving it without an error commits.

    A class and not a generator: one is opened for every commit, and this costs a third.
    """

    __slots__ = ("_batch", "_commit")

    def __init__(self, commit: Callable[[Batch], Awaitable[None]], *, long: bool = False) -> None:
        self._batch = Batch(long=long)
        self._commit = commit

    async def __aenter__(self) -> Batch:
        return self._batch

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None and self._batch.statements:
            await self._commit(self._batch)


class Database(Protocol):
    """SQLite or PostgreSQL."""

    @property
    def dialect(self) -> DialectName: ...

    def batch(self, *, long: bool = False) -> AbstractAsyncContextManager[Batch]:
        """Collect statements, run them atomically on leaving the block, and return when they are durable.

        Args:
            long: some statement may touch many rows (a sweep, an erasure); it never blocks the event loop.

        Raises:
            Conflict: an expectation missed or a unique row was there.
            StoreUnavailable: the database could not take it.
        """
        ...

    async def fetch_one(self, statement: Prepared, parameters: Mapping[str, Any]) -> Row | None:
        """The first row of a short, indexed read."""
        ...

    async def fetch_all(self, statement: Prepared, parameters: Mapping[str, Any]) -> Sequence[Row]:
        """All rows of a short, indexed read."""
        ...

    async def scan(self, statement: Prepared, parameters: Mapping[str, Any]) -> Sequence[Row]:
        """All rows of a read that may be long (lists, reports); never blocks the event loop."""
        ...

    async def scrub(self, *tables: str, rewrite: bool = False, log_only: bool = False) -> None:
        """So that what was deleted or replaced is not in the files; it may take long.

        SQLite: a new file and an empty log, whichever tables are named; writers wait meanwhile. PostgreSQL: dead rows
        are given free, to be overwritten; with `rewrite` the tables' files are new and nobody can use them meanwhile.
        Its log, replicas and archives keep what they have.

        Args:
            log_only: of rows that were deleted through this object. SQLite has overwritten them and empties its log.
        """
        ...

    async def close(self) -> None:
        """Finish what was begun and let go."""
        ...
