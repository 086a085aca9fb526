"""The contract of `Database`, over SQLite and PostgreSQL."""

import asyncio

import pytest

from handrail.core.clock import FrozenClock
from handrail.db import Conflict, Database, StoreUnavailable
from handrail.db.open import open_database
from tests.db.tables import ADD, ADD_NOW, ALL, CLEAR, CREATE, FIND, NOW, REMOVE, REPLACE, write


@pytest.fixture
async def things(db: Database) -> Database:
    """The database with the tests' table in it."""
    await write(db, (CREATE, {}))
    return db


async def _add(db: Database, id: int, text: str = "a") -> None:
    await write(db, (ADD, {"id": id, "text": text}))


async def _ids(db: Database) -> list[int]:
    return [row["id"] for row in await db.fetch_all(ALL, {})]


class TestBatch:
    async def test_is_read_back_once_the_block_has_ended(self, things: Database) -> None:
        await _add(things, 1, "first")

        row = await things.fetch_one(FIND, {"id": 1})

        assert row is not None
        assert (row["id"], row["text"]) == (1, "first")
        assert [dict(each) for each in await things.scan(ALL, {})] == [{"id": 1, "text": "first"}]

    async def test_without_statements_does_nothing(self, things: Database) -> None:
        async with things.batch():
            pass

        assert await _ids(things) == []

    async def test_is_dropped_when_the_block_raises(self, things: Database) -> None:
        async def change_my_mind() -> None:
            async with things.batch() as batch:
                batch.add(ADD, {"id": 1, "text": "a"})
                raise RuntimeError("changed my mind")

        with pytest.raises(RuntimeError, match="changed my mind"):
            await change_my_mind()

        assert await _ids(things) == []

    async def test_happens_in_the_order_it_was_written(self, things: Database) -> None:
        async with things.batch() as batch:
            batch.add(ADD, {"id": 1, "text": "a"})
            batch.add(REPLACE, {"key": 1, "seen": "a", "new": "b"}, expect=1)
            batch.add(REPLACE, {"key": 1, "seen": "b", "new": "c"}, expect=1)

        assert (await things.fetch_all(ALL, {}))[0]["text"] == "c"

    async def test_that_misses_its_expectation_undoes_all_its_statements(self, things: Database) -> None:
        with pytest.raises(Conflict, match="expected 1"):
            await write(
                things, (ADD, {"id": 1, "text": "a"}), (REPLACE, {"key": 1, "seen": "other", "new": "b"}), expect=1
            )

        assert await _ids(things) == []

    async def test_may_expect_that_nothing_matches(self, things: Database) -> None:
        await _add(things, 1)

        with pytest.raises(Conflict, match="expected 0"):
            await write(things, (REMOVE, {"key": 1}), expect=0)

        assert await _ids(things) == [1]

    async def test_with_a_row_that_is_there_already_conflicts_as_a_whole(self, things: Database) -> None:
        await _add(things, 1, "first")

        with pytest.raises(Conflict, match="there already"):
            await write(things, (ADD, {"id": 2, "text": "second"}), (ADD, {"id": 1, "text": "again"}))

        assert [row["text"] for row in await things.fetch_all(ALL, {})] == ["first"]

    async def test_with_a_parameter_missing_names_it_and_changes_nothing(self, things: Database) -> None:
        with pytest.raises(KeyError, match="text"):
            await write(things, (ADD, {"id": 1, "text": "a"}), (ADD, {"id": 2}))

        assert await _ids(things) == []

    async def test_sets_a_column_to_null_by_a_default_of_the_statement(self, things: Database) -> None:
        await _add(things, 1)

        await write(things, (CLEAR, {"key": 1}), expect=1)

        assert (await things.fetch_all(ALL, {}))[0]["text"] is None

    @pytest.mark.parametrize("value", [2**70, "\ud800", object()], ids=["too-big", "lone-surrogate", "no-column-type"])
    async def test_with_a_value_no_column_takes_fails_alone_and_the_store_goes_on(
        self, things: Database, value: object
    ) -> None:
        poison = write(things, (ADD, {"id": value if isinstance(value, int) else 99, "text": value}))

        async with asyncio.timeout(5):
            good, bad, after = await asyncio.gather(_add(things, 1), poison, _add(things, 2), return_exceptions=True)

        assert (good, after) == (None, None)
        assert isinstance(bad, Exception)
        assert not isinstance(bad, StoreUnavailable), "trying again would not help"
        assert await _ids(things) == [1, 2]


class TestConcurrentBatches:
    async def test_all_happen(self, things: Database) -> None:
        await asyncio.gather(*(_add(things, id) for id in range(300)))

        assert await _ids(things) == list(range(300))

    async def test_that_fail_do_not_take_the_others_of_their_commit_with_them(self, things: Database) -> None:
        async def add_twice(id: int) -> None:
            async with things.batch() as batch:
                batch.add(ADD, {"id": id, "text": "a"})
                if id % 3 == 0:
                    batch.add(REPLACE, {"key": id, "seen": "other", "new": "b"}, expect=1)
                if id % 5 == 0:
                    batch.add(ADD, {"id": id, "text": "again"})

        results = await asyncio.gather(*(add_twice(id) for id in range(60)), return_exceptions=True)

        lost = [id for id, result in enumerate(results) if isinstance(result, Conflict)]
        assert lost == [id for id in range(60) if id % 3 == 0 or id % 5 == 0]
        assert await _ids(things) == [id for id in range(60) if id not in lost]

    async def test_that_compare_and_set_the_same_row_are_won_by_one(self, things: Database) -> None:
        await _add(things, 1, "free")

        taking = (
            write(things, (REPLACE, {"key": 1, "seen": "free", "new": f"owner-{n}"}), expect=1) for n in range(20)
        )
        results = await asyncio.gather(*taking, return_exceptions=True)

        winners = [n for n, result in enumerate(results) if result is None]
        assert len(winners) == 1
        assert sum(isinstance(result, Conflict) for result in results) == 19
        assert (await things.fetch_all(ALL, {}))[0]["text"] == f"owner-{winners[0]}"

    async def test_happen_whole_or_not_at_all_when_a_waiter_is_cancelled(self, things: Database) -> None:
        async def add_pair(id: int) -> None:
            await write(things, (ADD, {"id": id, "text": "a"}), (ADD, {"id": id + 1000, "text": "b"}))

        tasks = [asyncio.create_task(add_pair(id)) for id in range(50)]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        await _add(things, 5000)

        ids = set(await _ids(things))
        assert all((id in ids) == (id + 1000 in ids) for id in range(50))
        assert set(range(1, 50, 2)) <= ids
        assert all(results[id] is None for id in range(1, 50, 2))
        assert 5000 in ids


class TestClock:
    async def test_of_the_database_is_the_one_handed_in(self, things: Database, clock: FrozenClock) -> None:
        clock.advance(90)

        await write(things, (ADD_NOW, {"id": 1}))

        row = await things.fetch_one(FIND, {"id": 1})
        assert row is not None
        assert row["at"] == clock.micros()

    async def test_holds_for_reads_too_and_moves_with_it(self, things: Database, clock: FrozenClock) -> None:
        before = await things.fetch_one(NOW, {})
        clock.advance(60)
        after, scanned = await things.fetch_one(NOW, {}), await things.scan(NOW, {})

        assert before is not None
        assert after is not None
        assert after["at"] == clock.micros() == before["at"] + 60_000_000
        assert scanned[0]["at"] == clock.micros()


class TestClose:
    async def test_makes_writes_and_reads_say_the_store_is_unavailable(self, things: Database) -> None:
        await things.close()

        with pytest.raises(StoreUnavailable):
            await _add(things, 1)
        for read in (things.fetch_one, things.fetch_all, things.scan):
            with pytest.raises(StoreUnavailable):
                await read(ALL, {})

    async def test_finishes_what_was_begun(self, things: Database, db_url: str, clock: FrozenClock) -> None:
        writes = [asyncio.create_task(_add(things, id)) for id in range(20)]
        await asyncio.sleep(0)
        await things.close()
        done = await asyncio.gather(*writes, return_exceptions=True)

        again = await open_database(db_url, clock)
        stored = await _ids(again)
        await again.close()
        assert stored == [id for id, result in enumerate(done) if result is None]

    async def test_can_be_asked_twice(self, things: Database) -> None:
        await things.close()
        await things.close()
