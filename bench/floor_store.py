"""The floor's storage: SQLite that is safe on power loss, written by one thread that commits many turns at once."""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import uuid_utils

Statement = tuple[str, tuple[str | None, ...]]

SCHEMA = """
CREATE TABLE IF NOT EXISTS conversations (id TEXT PRIMARY KEY, created_at TEXT DEFAULT CURRENT_TIMESTAMP) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS turns (
    id TEXT PRIMARY KEY, conversation_id TEXT NOT NULL, status TEXT NOT NULL, created_at TEXT DEFAULT CURRENT_TIMESTAMP
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS messages (
    conversation_id TEXT NOT NULL, id TEXT NOT NULL, turn_id TEXT NOT NULL, role TEXT NOT NULL,
    content TEXT, tool_calls TEXT, tool_call_id TEXT, PRIMARY KEY (conversation_id, id)
) WITHOUT ROWID;
"""
INSERT_CONVERSATION = "INSERT INTO conversations (id) VALUES (?)"
INSERT_TURN = "INSERT INTO turns (id, conversation_id, status) VALUES (?, ?, 'running')"
COMPLETE_TURN = "UPDATE turns SET status = 'completed' WHERE id = ?"
INSERT_MESSAGE = (
    "INSERT INTO messages (conversation_id, id, turn_id, role, content, tool_calls, tool_call_id)"
    " VALUES (?, ?, ?, ?, ?, ?, ?)"
)
SELECT_TEXT = (
    "SELECT role, content FROM messages"
    " WHERE conversation_id = ? AND role IN ('user', 'assistant') AND tool_calls IS NULL ORDER BY id"
)


def new_id(prefix: str) -> str:
    """An id that sorts by time."""
    return f"{prefix}_{uuid_utils.uuid7().hex}"


def insert_message(
    conversation_id: str, turn_id: str, role: str, content: str | None, *, tool_calls: str | None = None,
    tool_call_id: str | None = None,
) -> Statement:  # fmt: skip
    """The statement that stores one message."""
    return INSERT_MESSAGE, (conversation_id, new_id("msg"), turn_id, role, content, tool_calls, tool_call_id)


class Store:
    """Reads on the caller's thread, writes through the writer thread."""

    def __init__(self, path: Path) -> None:
        self._reader = _connect(path)
        self._reader.executescript(SCHEMA)
        self._writer = GroupCommitWriter(path)

    def texts(self, conversation_id: str) -> list[dict[str, Any]]:
        """What was said before, as chat messages."""
        rows = self._reader.execute(SELECT_TEXT, (conversation_id,))
        return [{"role": role, "content": content} for role, content in rows]

    async def write(self, *statements: Statement) -> None:
        """Return when the statements are committed, all or none."""
        await self._writer.submit(statements)

    def close(self) -> None:
        self._writer.close()
        self._reader.close()


Waiting = tuple[Iterable[Statement], "asyncio.Future[None]"]


class GroupCommitWriter:
    """One thread that puts all batches that are waiting into one transaction, so that they share its fsync."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._loop = asyncio.get_running_loop()
        self._queue: queue.SimpleQueue[Waiting | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="floor-writer", daemon=True)
        self._thread.start()

    def submit(self, statements: Iterable[Statement]) -> asyncio.Future[None]:
        """A future that is done once the statements are on disk."""
        done = self._loop.create_future()
        self._queue.put((statements, done))
        return done

    def close(self) -> None:
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        connection = _connect(self._path)
        while (first := self._queue.get()) is not None:
            group = [first]
            while not self._queue.empty():
                if (waiting := self._queue.get()) is None:
                    self._queue.put(None)
                    break
                group.append(waiting)
            self._loop.call_soon_threadsafe(_resolve, [done for _, done in group], _commit(connection, group))
        connection.close()


def _commit(connection: sqlite3.Connection, group: list[Waiting]) -> sqlite3.Error | None:
    try:
        connection.execute("BEGIN IMMEDIATE")
        for statements, _ in group:
            for sql, values in statements:
                connection.execute(sql, values)
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        # No savepoints: a failing batch takes its group with it, and the benchmark fails as it should.
        connection.rollback()
        return error
    return None


def _resolve(futures: list[asyncio.Future[None]], error: sqlite3.Error | None) -> None:
    for future in futures:
        if future.done():
            continue
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    return connection
