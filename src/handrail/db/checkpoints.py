"""Copying the log of a SQLite database (WAL) into its file, beside the writer.

A checkpoint copies some thousand pages and waits for the disk twice. SQLite runs it within the commit that fills the
log: a turn's writes make some twenty pages, so at 200 turns a second four times a second everybody waited for one.
`PASSIVE` waits for nobody and nobody for it. What it can't copy, as somebody still reads before it, is copied later.
"""

import queue
import sqlite3
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress

from handrail.db.batch import StoreUnavailable

# Rows that the writer has changed since the last one; there are about as many pages in the log then.
ROWS = 500
# In pages: with a log of this length the writer lends a hand. Nearly all of it is copied by then; once all is and
# nobody reads it, the log begins anew, so this bounds it under a load that never pauses.
LONGEST_LOG = 8000


class Checkpoints:
    """Fails open: a checkpoint that can't be had leaves what is committed in the log, from which it is read."""

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        self._connect = connect
        self._done_at = 0
        self._asked: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._running = threading.Lock()
        self._thread: threading.Thread | None = None

    def after(self, changes: int) -> None:
        """After a commit, with all rows that its connection has ever changed: a checkpoint when there is enough."""
        if changes - self._done_at < ROWS:
            return
        self._done_at = changes
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="handrail-sqlite-checkpoints", daemon=True)
            self._thread.start()
        self._asked.put(True)

    @contextmanager
    def paused(self) -> Generator[None]:
        """None runs meanwhile."""
        with self._running:
            yield

    def close(self) -> None:
        """Returns when the last one is over."""
        if self._thread is not None:
            self._asked.put(False)
            self._thread.join()

    def _run(self) -> None:
        connection: sqlite3.Connection | None = None
        while self._asked.get():
            # What fails here (a full disk) fails the commits too, and they tell it.
            with self._running, suppress(sqlite3.Error, StoreUnavailable):
                connection = connection or self._connect()
                connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        if connection is not None:
            connection.close()
