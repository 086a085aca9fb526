"""SQLite's one writer: all batches that wait share a commit, so that under load one fsync carries many.

Statements run on the event loop, the commit with its fsync in a thread. A statement takes ten microseconds; handing
each batch to a thread costs more than that, because SQLite lets go of the interpreter at every statement and must
win it back from a busy loop. Batches that may be long, and those that another process keeps waiting, run in the
thread whole.

What the log of the database (WAL) holds is copied into the file by another thread, `Checkpoints`: SQLite would do it
within the commit that fills the log, and everybody would wait.
"""

import asyncio
import contextlib
import queue
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from handrail.db.batch import AFTER_REPAIR_SECONDS, AGAIN_SECONDS, Batch, Conflict, NotStorable, StoreUnavailable
from handrail.db.checkpoints import Checkpoints

MOST_BATCHES_A_COMMIT = 64
PATIENCE_MILLISECONDS = 30_000


class _Waiting(NamedTuple):
    batch: Batch
    future: "asyncio.Future[None]"


class _Group(NamedTuple):
    """What shares a commit; `errors` are `None` for a group whose statements have yet to run."""

    waiting: Sequence[_Waiting]
    errors: Sequence[Exception | None] | None


class GroupCommit:
    """The writer of one file, by a connection of its own."""

    def __init__(self, connection: sqlite3.Connection, checkpoints: Checkpoints) -> None:
        self._connection = connection
        self._checkpoints = checkpoints
        self._waiting: deque[_Waiting] = deque()
        # Held from a group's first statement to the end of its commit, on the loop and then in the thread.
        self._writing = threading.Lock()
        self._groups: queue.SimpleQueue[_Group | None] = queue.SimpleQueue()
        self._closed = False
        self._be_patient(0)
        self._thread = threading.Thread(target=self._commit_forever, name="handrail-sqlite-writer", daemon=True)
        self._thread.start()

    async def write(self, batch: Batch) -> None:
        """Returns when the batch is durable; raises `Conflict` or `StoreUnavailable` when nothing of it happened."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        self._waiting.append(_Waiting(batch, future))
        # After the rest of this round of the loop: what else it brings joins this commit.
        loop.call_soon(self._begin)
        # A turn that is cancelled here cancels the future alone: the commit goes on, and nobody is told.
        await future

    async def alone(self, work: Callable[[sqlite3.Connection], None]) -> None:
        """Run something that fits no transaction, in a thread, while nobody writes."""
        await asyncio.to_thread(self._alone, work)
        # What came meanwhile found the writer taken.
        self._begin()

    def _alone(self, work: Callable[[sqlite3.Connection], None]) -> None:
        with self._writing:
            self._be_patient(PATIENCE_MILLISECONDS)
            try:
                with self._checkpoints.paused():
                    work(self._connection)
            except sqlite3.Error as error:
                raise _named(error) from error
            finally:
                self._be_patient(0)

    def close(self) -> None:
        """Take nothing more; what waits is still written before `wait_closed` returns."""
        self._closed = True
        self._groups.put(None)

    def wait_closed(self) -> None:
        self._thread.join()
        self._checkpoints.close()

    def _begin(self) -> None:
        """On the loop: run what waits and have it committed, unless a commit is under way; that one begins the next."""
        if self._waiting and not self._closed and self._writing.acquire(blocking=False):
            self._groups.put(self._applied(self._next_group()))

    def _next_group(self) -> list[_Waiting]:
        return [self._waiting.popleft() for _ in range(min(len(self._waiting), MOST_BATCHES_A_COMMIT))]

    def _applied(self, waiting: list[_Waiting]) -> _Group:
        if any(each.batch.is_long for each in waiting):
            return _Group(waiting, None)
        try:
            return _Group(waiting, self._apply(waiting))
        except sqlite3.Error as error:
            errors = None if _is_busy(error) else [_named(error) for _ in waiting]
            return _Group(waiting, errors)

    def _commit_forever(self) -> None:
        while (group := self._groups.get()) is not None:
            self._finish(group)
        while self._waiting:
            with self._writing:
                group = self._next_group()
                _tell(group, self._commit(_Group(group, None)))

    def _finish(self, group: _Group) -> None:
        """In the thread: commit, tell who waited, and let what came meanwhile begin."""
        errors = self._commit(group)
        self._writing.release()
        if not _tell(group.waiting, errors, then=self._begin):
            # Whoever waited has gone with its loop; somebody else may have come in between.
            self._begin()

    def _commit(self, group: _Group) -> Sequence[Exception | None]:
        connection, errors = self._connection, group.errors
        try:
            if errors is None:
                self._be_patient(PATIENCE_MILLISECONDS)
                errors = self._apply(group.waiting)
            if connection.in_transaction:
                connection.execute("COMMIT")
                self._checkpoints.after(connection.total_changes)
        except sqlite3.Error as error:
            self._undo()
            return [_named(error) for _ in group.waiting]
        finally:
            if group.errors is None:
                self._be_patient(0)
        return errors

    def _be_patient(self, milliseconds: int) -> None:
        """How long a write waits for another process that writes: on the loop not at all."""
        self._connection.execute(f"PRAGMA busy_timeout={milliseconds}")

    def _apply(self, waiting: Sequence[_Waiting]) -> list[Exception | None]:
        """Run the statements of a group. Savepoints, which keep batches apart, are dear: they come once one fails."""
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            for each in waiting:
                _run(connection, each.batch)
        except Exception as error:  # noqa: BLE001 - a value SQLite can't take must not end the writer of everybody
            self._undo()
            return [_named(error)] if len(waiting) == 1 else self._apply_apart(waiting)
        return [None] * len(waiting)

    def _apply_apart(self, waiting: Sequence[_Waiting]) -> list[Exception | None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            return [_run_apart(self._connection, each.batch) for each in waiting]
        except _Undone as undone:
            self._undo()
            return [undone.cause] * len(waiting)

    def _undo(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")


class _Undone(Exception):
    """A signal inside this module: the whole group is undone, for this cause."""

    def __init__(self, cause: Exception) -> None:
        self.cause = cause


def _run(connection: sqlite3.Connection, batch: Batch) -> None:
    for statement, parameters, expect in batch.statements:
        sql, values = statement.bind("sqlite", parameters)
        affected = connection.execute(sql, values).rowcount
        if expect is not None and affected != expect:
            raise Conflict(f"expected {expect} row(s), {affected} matched: somebody was faster; read again")


def _run_apart(connection: sqlite3.Connection, batch: Batch) -> Exception | None:
    """Run one batch in a savepoint, so that its failure, whatever it is, undoes it alone."""
    connection.execute("SAVEPOINT batch")
    try:
        _run(connection, batch)
    except Exception as error:
        # A full disk may end the whole transaction by itself; then there is no savepoint to go back to.
        if not connection.in_transaction:
            raise _Undone(_named(error)) from error
        connection.execute("ROLLBACK TO batch")
        connection.execute("RELEASE batch")
        return _named(error)
    connection.execute("RELEASE batch")
    return None


def _is_busy(error: sqlite3.Error) -> bool:
    """Another process writes now. The lower byte of SQLite's code is the kind of error, the rest its reason."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY


def _named(error: Exception) -> Exception:
    """What a failed statement means to its caller; a mistake in the statement itself stays what it is."""
    if isinstance(error, sqlite3.IntegrityError):
        return Conflict(f"this is there already or refers to nothing: {error}")
    if isinstance(error, OverflowError):
        return NotStorable(f"SQLite can't hold a value that was to be written: {error}")
    if isinstance(error, sqlite3.Error) and not isinstance(error, sqlite3.ProgrammingError | sqlite3.InterfaceError):
        return StoreUnavailable(
            f"the database did not take the write ({error}); free its disk or check its file",
            retry_after_seconds=AGAIN_SECONDS if _is_busy(error) else AFTER_REPAIR_SECONDS,
        )
    return error


def _tell(
    waiting: Sequence[_Waiting], errors: Sequence[Exception | None], then: Callable[[], None] = lambda: None
) -> bool:
    """Answer all waiters of one event loop with a single wake-up; whether any loop was there to be told."""
    loops: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[None], Exception | None]]] = {}
    for each, error in zip(waiting, errors, strict=True):
        loops.setdefault(each.future.get_loop(), []).append((each.future, error))
    told = False
    for loop, answers in loops.items():
        # A loop that has closed has nobody left to tell; it may close between a look and the call.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(_answer, answers, then)
            told = True
    return told


def _answer(answers: Sequence[tuple["asyncio.Future[None]", Exception | None]], then: Callable[[], None]) -> None:
    for future, error in answers:
        if future.done():
            continue
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)
            future.exception()
    then()
