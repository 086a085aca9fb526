"""SQLite: one writer that puts all waiting batches into one commit, and readers beside it (WAL).

`synchronous=FULL`, so a commit that returned survives a power cut. Group commit is where the throughput comes from.
"""

import asyncio
import sqlite3
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from handrail.core.clock import Clock
from handrail.core.counts import added
from handrail.db.batch import Batch, OpenBatch, Row, StoreUnavailable
from handrail.db.checkpoints import LONGEST_LOG, Checkpoints
from handrail.db.group_commit import PATIENCE_MILLISECONDS, GroupCommit
from handrail.db.prepared import DialectName, Prepared


class SqliteDatabase:
    """One file, one process. Batches are durable when awaited; reads see the last commit.

    Short reads run on the event loop's own connection: an indexed read in WAL mode takes tens of microseconds, less
    than a hop to a thread. Long reads (`scan`) run in a thread. What is deleted is overwritten.
    """

    dialect: DialectName = "sqlite"

    def __init__(self, path: Path | str, clock: Clock) -> None:
        self._path = str(path)
        self._clock = clock
        self._writer_connection = self._connect()
        self._writer_connection.execute("PRAGMA secure_delete=ON")
        self._writer_connection.execute(f"PRAGMA wal_autocheckpoint={LONGEST_LOG}")
        self._reader = self._connect(read_only=True)
        self._scanner = self._connect(read_only=True)
        self._scanning = threading.Lock()
        self._writer = GroupCommit(self._writer_connection, Checkpoints(self._connect))
        self._closed = False

    def batch(self, *, long: bool = False) -> OpenBatch:
        return OpenBatch(self._commit, long=long)

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

    async def scrub(self, *tables: str, rewrite: bool = False, log_only: bool = False) -> None:
        self._require_open()
        await self._writer.alone(_empty_log if log_only else _scrub)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._writer.close()
        await asyncio.to_thread(self._let_go)

    def _let_go(self) -> None:
        self._writer.wait_closed()
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
            connection.execute(f"PRAGMA busy_timeout={PATIENCE_MILLISECONDS}")
            if read_only:
                connection.execute("PRAGMA query_only=ON")
        except sqlite3.Error as error:
            raise StoreUnavailable(f"can't open the database {self._path!r}: {error}") from error
        connection.row_factory = sqlite3.Row
        connection.create_function("handrail_now", 0, self._clock.micros)
        connection.create_function("handrail_added", 2, added, deterministic=True)
        return connection

    async def _commit(self, batch: Batch) -> None:
        self._require_open()
        await self._writer.write(batch)

    def _require_open(self) -> None:
        if self._closed:
            raise StoreUnavailable("the database is closed; the server is shutting down")

    def _scan(self, sql: str, values: list[Any]) -> Sequence[Row]:
        with self._scanning:
            self._require_open()
            return _read(self._scanner, sql, values).fetchall()


def _scrub(connection: sqlite3.Connection) -> None:
    """Every page anew, then the log emptied: both held the old ones."""
    connection.execute("VACUUM")
    _empty_log(connection)


def _empty_log(connection: sqlite3.Connection) -> None:
    busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if busy:
        raise StoreUnavailable("somebody reads the database all the time, so its log can't be emptied; try again")


def _read(connection: sqlite3.Connection, sql: str, values: list[Any]) -> sqlite3.Cursor:
    try:
        return connection.execute(sql, values)
    except sqlite3.OperationalError as error:
        raise StoreUnavailable(f"the database could not be read: {error}") from error
