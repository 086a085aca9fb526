"""What is particular to SQLite: one writer, group commit, a disk that may be full."""

import asyncio
import contextlib
import sqlite3
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text

from handrail.core.clock import FrozenClock
from handrail.db import Conflict, Prepared, StoreUnavailable
from handrail.db.checkpoints import LONGEST_LOG, ROWS, Checkpoints
from handrail.db.group_commit import MOST_BATCHES_A_COMMIT
from handrail.db.sqlite import SqliteDatabase
from tests.db.tables import ADD, ALL, CREATE, REMOVE, write

KILOBYTE = "x" * 1024


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    return tmp_path / "things.db"


@pytest.fixture
async def things(path: Path, clock: FrozenClock) -> AsyncIterator[SqliteDatabase]:
    database = SqliteDatabase(path, clock)
    await write(database, (CREATE, {}))
    yield database
    await database.close()


async def _add(db: SqliteDatabase, id: int, text: str = "a") -> None:
    await write(db, (ADD, {"id": id, "text": text}))


def _limit_pages(db: SqliteDatabase, more: int) -> None:
    """A disk with room for `more` pages: SQLite then says SQLITE_FULL, as a full disk makes it say."""
    connection = db._writer_connection
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages + more}")


def _log_size(path: Path) -> int:
    return path.with_name(f"{path.name}-wal").stat().st_size


def _wait_until_larger(path: Path, size: int) -> None:
    """Another thread makes it so: there is nothing to await."""
    until = time.monotonic() + 10
    while path.stat().st_size < size:
        assert time.monotonic() < until
        time.sleep(0.01)


class TestDiskFull:
    async def test_is_said_to_the_writer_and_passes_once_there_is_room(self, things: SqliteDatabase) -> None:
        _limit_pages(things, 2)

        with pytest.raises(StoreUnavailable, match="full"):
            await _add(things, 1, KILOBYTE * 100)
        _limit_pages(things, 1000)
        await _add(things, 2, KILOBYTE * 100)

        assert [row["id"] for row in await things.fetch_all(ALL, {})] == [2]

    async def test_and_a_database_that_only_reads_say_to_come_back_after_a_repair(self, things: SqliteDatabase) -> None:
        things._writer_connection.execute("PRAGMA query_only = ON")

        with pytest.raises(StoreUnavailable, match="readonly") as refused:
            await _add(things, 1)
        assert refused.value.retry_after_seconds == 30.0

        things._writer_connection.execute("PRAGMA query_only = OFF")
        await _add(things, 2)
        assert [row["id"] for row in await things.fetch_all(ALL, {})] == [2]

    async def test_leaves_no_half_batches_in_a_group(self, things: SqliteDatabase) -> None:
        _limit_pages(things, 10)

        async def add_pair(id: int) -> None:
            large = KILOBYTE * (200 if id % 2 else 1)
            await write(things, (ADD, {"id": id, "text": "small"}), (ADD, {"id": id + 1000, "text": large}))

        async with asyncio.timeout(10):
            results = await asyncio.gather(*(add_pair(id) for id in range(6)), return_exceptions=True)

        stored = [row["id"] for row in await things.fetch_all(ALL, {})]
        written = [id for id, result in enumerate(results) if result is None]
        assert stored == [*written, *(id + 1000 for id in written)]
        assert all(isinstance(results[id], StoreUnavailable) for id in (1, 3, 5))


class TestFile:
    async def test_in_a_folder_that_is_missing_can_not_be_opened(self, tmp_path: Path, clock: FrozenClock) -> None:
        with pytest.raises(StoreUnavailable, match="nowhere"):
            SqliteDatabase(tmp_path / "nowhere" / "a.db", clock)

    async def test_holds_what_was_awaited_when_the_process_is_gone(self, things: SqliteDatabase, path: Path) -> None:
        await _add(things, 1)

        # Another process's view, while nothing was closed or checkpointed here.
        other = sqlite3.connect(path)
        rows = other.execute("SELECT id FROM thing").fetchall()
        other.close()
        assert rows == [(1,)]

    async def test_is_kept_whole_by_synchronous_full_and_foreign_keys(self, things: SqliteDatabase) -> None:
        settings = {
            name: things._writer_connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }

        assert settings == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


class TestReaders:
    async def test_can_not_write(self, things: SqliteDatabase) -> None:
        with pytest.raises(StoreUnavailable, match="readonly"):
            await things.fetch_all(REMOVE, {"key": 1})

    async def test_are_not_held_up_by_a_long_scan(self, things: SqliteDatabase) -> None:
        await write(things, *((ADD, {"id": id, "text": "a"}) for id in range(2000)))

        scans = [asyncio.create_task(things.scan(ALL, {})) for _ in range(5)]
        await _add(things, 5000)
        row_counts = [len(await scan) for scan in scans]

        assert all(count in (2000, 2001) for count in row_counts)

    async def test_of_a_scan_that_is_under_way_get_their_rows_before_the_file_closes(
        self, things: SqliteDatabase
    ) -> None:
        await _add(things, 1)
        scans = [asyncio.create_task(things.scan(ALL, {})) for _ in range(20)]
        await asyncio.sleep(0)
        await things.close()

        results = await asyncio.gather(*scans, return_exceptions=True)

        assert all(isinstance(result, StoreUnavailable) or len(result) == 1 for result in results)


class TestWriter:
    async def test_keeps_batches_apart_when_one_of_their_commit_fails(self, things: SqliteDatabase) -> None:
        await _add(things, 3)

        results = await asyncio.gather(*(_add(things, id) for id in range(6)), return_exceptions=True)

        assert [isinstance(result, Conflict) for result in results] == [False, False, False, True, False, False]
        assert [row["id"] for row in await things.fetch_all(ALL, {})] == [0, 1, 2, 3, 4, 5]

    async def test_takes_more_batches_at_once_than_a_commit_holds(self, things: SqliteDatabase) -> None:
        count = 2 * MOST_BATCHES_A_COMMIT + 1

        await asyncio.gather(*(_add(things, id) for id in range(count)))

        assert len(await things.fetch_all(ALL, {})) == count

    async def test_waits_for_another_process_without_holding_up_the_loop(
        self, things: SqliteDatabase, path: Path
    ) -> None:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        waiting = asyncio.create_task(_add(things, 1))
        another = asyncio.create_task(_add(things, 2))
        await asyncio.sleep(0.02)
        were_waiting = not waiting.done() and not another.done()
        other.execute("COMMIT")
        other.close()
        async with asyncio.timeout(5):
            await asyncio.gather(waiting, another)

        assert were_waiting
        assert [row["id"] for row in await things.fetch_all(ALL, {})] == [1, 2]

    async def test_runs_a_long_batch_in_its_thread(self, things: SqliteDatabase) -> None:
        threads: list[str] = []

        def note(id: int) -> int:
            threads.append(threading.current_thread().name)
            return id

        things._writer_connection.create_function("note", 1, note)
        add_noted = Prepared(text("INSERT INTO thing (id, text) VALUES (note(:id), 'a')"))
        async with things.batch() as batch:
            batch.add(add_noted, {"id": 1})
        async with things.batch(long=True) as batch:
            batch.add(add_noted, {"id": 2})

        assert threads == [threading.current_thread().name, "handrail-sqlite-writer"]

    async def test_still_writes_what_waits_when_the_database_closes(self, things: SqliteDatabase, path: Path) -> None:
        adding = [asyncio.create_task(_add(things, id)) for id in range(3)]
        await asyncio.sleep(0)
        await things.close()
        await asyncio.gather(*adding)

        other = sqlite3.connect(path)
        rows = other.execute("SELECT count(*) FROM thing").fetchall()
        other.close()
        assert rows == [(3,)]


class TestWaiter:
    async def test_whose_event_loop_has_gone_does_not_stop_the_writer(self, things: SqliteDatabase) -> None:
        def elsewhere() -> None:
            async def hand_over() -> None:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0):
                        await _add(things, 1)

            asyncio.run(hand_over())

        await asyncio.to_thread(elsewhere)
        async with asyncio.timeout(5):
            await _add(things, 2)

        assert 2 in [row["id"] for row in await things.fetch_all(ALL, {})]


class TestTheLog:
    """What is committed lies in the log; a thread copies it into the file."""

    async def test_is_copied_without_the_writer(self, things: SqliteDatabase, path: Path) -> None:
        async with things.batch() as batch:
            for id in range(ROWS):
                batch.add(ADD, {"id": id, "text": KILOBYTE})

        await asyncio.to_thread(_wait_until_larger, path, ROWS * len(KILOBYTE))

    async def test_has_a_bound_under_a_load_that_never_pauses(self, things: SqliteDatabase, path: Path) -> None:
        # Nobody copies meanwhile, so that only the writer's own bound is left.
        with things._writer._checkpoints.paused():
            for number in range(12):
                async with things.batch(long=True) as batch:
                    for id in range(number * 1000, number * 1000 + 1000):
                        batch.add(ADD, {"id": id, "text": 3 * KILOBYTE})

        pages = _log_size(path) / 4120
        assert LONGEST_LOG <= pages < LONGEST_LOG + 2 * 1100

    async def test_stays_where_it_is_when_it_can_not_be_copied(self, path: Path, clock: FrozenClock) -> None:
        asked = threading.Event()

        def refused() -> sqlite3.Connection:
            asked.set()
            raise StoreUnavailable("no file may be opened")

        checkpoints = Checkpoints(refused)
        for changes in (ROWS, 2 * ROWS):
            asked.clear()
            checkpoints.after(changes)
            await asyncio.to_thread(asked.wait, 10)
            assert asked.is_set()
        checkpoints.close()

    async def test_is_emptied_while_it_is_copied(self, things: SqliteDatabase, path: Path) -> None:
        for round in range(5):
            async with things.batch() as batch:
                for id in range(round * ROWS, round * ROWS + ROWS):
                    batch.add(ADD, {"id": id, "text": KILOBYTE})
            await things.scrub(log_only=True)
            assert _log_size(path) == 0
