"""SQLite: one writer thread that puts all waiting batches into one commit, and readers beside it (WAL).

`synchronous=FULL`, so a commit that returned survives a power cut. Group commit is where the throughput comes from:
under load one fsync carries many batches, each in its own savepoint so that a conflict undoes that batch alone.
"""

import asyncio
import contextlib
import queue
import sqlite3
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from handrail.core.clock import Clock
from handrail.db.batch import Batch, Conflict, OpenBatch, Row, StoreUnavailable
from handrail.db.prepared import DialectName, Prepared

MOST_BATCHES_A_COMMIT = 256


class _Waiting(NamedTuple):
    batch: Batch
    future: "asyncio.Future[None]"


class SqliteDatabase:
    """One file, one process. Batches are durable when awaited; reads see the last commit.

    Short reads run on the event loop's own connection: an indexed read in WAL mode takes tens of microseconds, less
    than a hop to a thread. Long reads (`scan`) run in a thread.
    """

    dialect: ClassVar[DialectName] = "sqlite"

    def __init__(self, path: Path | str, clock: Clock) -> None:
        self._path = str(path)
        self._clock = clock
        self._writer_connection = self._connect()
        self._reader = self._connect(read_only=True)
        self._scanner = self._connect(read_only=True)
        self._scanning = threading.Lock()
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._closed = False
        self._thread = threading.Thread(target=self._write_forever, name="handrail-sqlite-writer", daemon=True)
        self._thread.start()

    def batch(self) -> OpenBatch:
        return OpenBatch(self._commit)

    async def fetch_one(self, statement: Prepared, parameters: Mapping[str, Any]) -> Row | None:
        self._require_open()
        sql, values = statement.bind("sqlite", parameters)
        return _read(self._reader, sql, values).fetchone()

    async def fetch_all(self, statement: Prepared, parameters: Mapping[str, Any]) -> Sequence[Row]:
        self._require_open()
        sql, values = statement.bind("sqlite", parameters)
        return _read(self._reader, sql, values).fetchall()

    async def scan(self, statement: Prepared, parameters: Mapping[str, Any]) -> Sequence[Row]:
        sql, values = statement.bind("sqlite", parameters)
        return await asyncio.to_thread(self._scan, sql, values)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._queue.put(None)
        await asyncio.to_thread(self._let_go)

    def _let_go(self) -> None:
        self._thread.join()
        with self._scanning:
            for connection in (self._reader, self._scanner, self._writer_connection):
                connection.close()

    def _connect(self, *, read_only: bool = False) -> sqlite3.Connection:
        try:
            connection = sqlite3.connect(
                self._path, isolation_level=None, check_same_thread=False, cached_statements=512, timeout=30.0
            )
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA foreign_keys=ON")
            connection.execute("PRAGMA busy_timeout=30000")
            if read_only:
                connection.execute("PRAGMA query_only=ON")
        except sqlite3.Error as error:
            raise StoreUnavailable(f"can't open the database {self._path!r}: {error}") from error
        connection.row_factory = sqlite3.Row
        connection.create_function("handrail_now", 0, self._clock.micros)
        return connection

    async def _commit(self, batch: Batch) -> None:
        self._require_open()
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.put(_Waiting(batch, future))
        # A turn that is cancelled here cancels the future alone: the commit goes on, and nobody is told.
        await future

    def _require_open(self) -> None:
        if self._closed:
            raise StoreUnavailable("the database is closed; the server is shutting down")

    def _scan(self, sql: str, values: list[Any]) -> Sequence[Row]:
        with self._scanning:
            self._require_open()
            return _read(self._scanner, sql, values).fetchall()

    def _write_forever(self) -> None:
        while (first := self._queue.get()) is not None:
            group = [first]
            stop = False
            while len(group) < MOST_BATCHES_A_COMMIT:
                try:
                    waiting = self._queue.get_nowait()
                except queue.Empty:
                    break
                if waiting is None:
                    stop = True
                    break
                group.append(waiting)
            self._write(group)
            if stop:
                return

    def _write(self, group: list[_Waiting]) -> None:
        connection = self._writer_connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            errors = [self._apply(connection, waiting.batch, alone=len(group) == 1) for waiting in group]
            connection.execute("COMMIT")
        except (sqlite3.Error, _Undone) as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            failed = error.cause if isinstance(error, _Undone) else _named(error)
            errors = [failed for _ in group]
        _resolve(group, errors)

    def _apply(self, connection: sqlite3.Connection, batch: Batch, *, alone: bool) -> Exception | None:
        """Run one batch; its failure undoes it alone, by savepoint, or the whole commit when it is alone in it.

        Any exception counts: a value that SQLite can't take must not end the thread that everybody writes by.
        """
        if not alone:
            connection.execute("SAVEPOINT batch")
        try:
            for statement, parameters, expect in batch.statements:
                sql, values = statement.bind("sqlite", parameters)
                affected = connection.execute(sql, values).rowcount
                if expect is not None and affected != expect:
                    raise Conflict(f"expected {expect} row(s), {affected} matched: somebody was faster; read again")
        except Exception as error:
            cause = _named(error)
            # A full disk may end the whole transaction by itself; then there is no savepoint to go back to.
            if alone or not connection.in_transaction:
                raise _Undone(cause) from error
            connection.execute("ROLLBACK TO batch")
            connection.execute("RELEASE batch")
            return cause
        if not alone:
            connection.execute("RELEASE batch")
        return None


class _Undone(Exception):
    """A signal inside this module: the whole commit is undone, for this cause."""

    def __init__(self, cause: Exception) -> None:
        self.cause = cause


def _named(error: Exception) -> Exception:
    """What a failed statement means to its caller; a mistake in the statement itself stays what it is."""
    if isinstance(error, sqlite3.IntegrityError):
        return Conflict(f"this is there already or refers to nothing: {error}")
    if isinstance(error, sqlite3.Error) and not isinstance(error, sqlite3.ProgrammingError | sqlite3.InterfaceError):
        return StoreUnavailable(f"the database did not take the write ({error}); free its disk or check its file")
    return error


def _read(connection: sqlite3.Connection, sql: str, values: list[Any]) -> sqlite3.Cursor:
    try:
        return connection.execute(sql, values)
    except sqlite3.OperationalError as error:
        raise StoreUnavailable(f"the database could not be read: {error}") from error


def _resolve(group: Sequence[_Waiting], errors: Sequence[Exception | None]) -> None:
    """Answer all waiters of one event loop with a single wake-up."""
    loops: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[None], Exception | None]]] = {}
    for waiting, error in zip(group, errors, strict=True):
        loops.setdefault(waiting.future.get_loop(), []).append((waiting.future, error))
    for loop, answers in loops.items():
        # A loop that has closed has nobody left to tell; it may close between a look and the call.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(_answer, answers)


def _answer(answers: list[tuple["asyncio.Future[None]", Exception | None]]) -> None:
    for future, error in answers:
        if future.done():
            continue
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)
            future.exception()
