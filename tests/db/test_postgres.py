"""What is particular to PostgreSQL: a server that may go away."""

import asyncio
from collections.abc import Iterator

import asyncpg
import pytest
from sqlalchemy import insert, text

from handrail.core.clock import FrozenClock, SystemClock
from handrail.db import Conflict, NotStorable, Prepared, StoreUnavailable
from handrail.db.postgres import PostgresDatabase
from handrail.serving.conversations.tables import idempotency_key
from tests.db.tables import ADD, ALL, CREATE, NOW, REPLACE, write
from tests.servers import PostgresServer, free_port

pytestmark = pytest.mark.postgres

_SUICIDE = Prepared(text("SELECT pg_terminate_backend(pg_backend_pid())"))
_WAIT = Prepared(text("SELECT pg_sleep(0.2)"))


@pytest.fixture
def own_server() -> Iterator[PostgresServer]:
    """A server that the test may stop."""
    server = PostgresServer()
    try:
        yield server.start()
    finally:
        server.remove()


async def _add(db: PostgresDatabase, id: int) -> None:
    await write(db, (ADD, {"id": id, "text": "a"}))


class TestServer:
    async def test_that_is_not_there_is_named_as_unreachable(self) -> None:
        with pytest.raises(StoreUnavailable, match="can't reach PostgreSQL"):
            await PostgresDatabase.connect(f"postgresql://postgres@127.0.0.1:{free_port()}/x", SystemClock())

    async def test_that_lacks_the_database_is_named_as_unreachable(self, postgres_server: PostgresServer) -> None:
        with pytest.raises(StoreUnavailable, match="nothing_here"):
            await PostgresDatabase.connect(postgres_server.url("nothing_here"), SystemClock())

    async def test_that_stops_and_comes_back_is_unavailable_only_meanwhile(self, own_server: PostgresServer) -> None:
        db = await PostgresDatabase.connect(own_server.url(), SystemClock())
        await write(db, (CREATE, {}))
        await _add(db, 1)

        own_server.stop()
        with pytest.raises(StoreUnavailable):
            await _add(db, 2)
        with pytest.raises(StoreUnavailable):
            await db.fetch_all(ALL, {})
        own_server.start()
        await _add(db, 3)

        assert [row["id"] for row in await db.fetch_all(ALL, {})] == [1, 3]
        await db.close()

    async def test_that_ends_our_session_in_the_middle_is_unavailable(self, postgres_url: str) -> None:
        db = await PostgresDatabase.connect(postgres_url, SystemClock(), connections=1)
        await write(db, (CREATE, {}))

        with pytest.raises(StoreUnavailable):
            await write(db, (ADD, {"id": 1, "text": "a"}), (_SUICIDE, {}))

        assert await db.fetch_all(ALL, {}) == []
        await db.close()

    async def test_that_became_a_replica_is_unavailable_and_not_a_bug(self, blank_postgres_url: str) -> None:
        db = await PostgresDatabase.connect(blank_postgres_url, SystemClock(), connections=1)
        await write(db, (CREATE, {}))
        admin = await asyncpg.connect(blank_postgres_url)
        name = await admin.fetchval("SELECT current_database()")
        await admin.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        await admin.close()
        await db.close()

        db = await PostgresDatabase.connect(blank_postgres_url, SystemClock(), connections=1)
        with pytest.raises(StoreUnavailable, match="read-only"):
            await _add(db, 1)
        await db.close()


class TestMessages:
    async def test_tell_nothing_of_what_stands_in_the_rows(self, postgres_url: str) -> None:
        db = await PostgresDatabase.connect(postgres_url, SystemClock(), connections=1)
        key = {"tenant_id": "default", "subject": "ana", "route": "turns", "key": "kestrel", "created_at": 1}
        add = Prepared(insert(idempotency_key))
        row = key | {"body_hash": b"x", "resource_id": "turn_1"}
        await write(db, (add, row))
        for wrong, error in ((row, Conflict), (row | {"created_at": 2**70}, NotStorable)):
            with pytest.raises(error) as told:
                await write(db, (add, wrong))
            assert not any(word in told.value.message for word in ("kestrel", "ana", str(2**70)))
        await db.close()


class TestClock:
    async def test_of_the_process_leaves_the_servers_own_clock_in_place(self, postgres_url: str) -> None:
        frozen = await PostgresDatabase.connect(postgres_url, FrozenClock(), connections=1)
        real = await PostgresDatabase.connect(postgres_url, SystemClock(), connections=1)

        at_frozen, at_real = await frozen.fetch_one(NOW, {}), await real.fetch_one(NOW, {})

        assert at_frozen is not None
        assert at_real is not None
        assert at_frozen["at"] == FrozenClock().micros()
        assert abs(at_real["at"] - SystemClock().micros()) < 60_000_000
        await frozen.close()
        await real.close()


class TestDeadlock:
    async def test_of_two_batches_is_a_conflict_for_one_of_them(self, postgres_url: str) -> None:
        db = await PostgresDatabase.connect(postgres_url, SystemClock())
        await write(db, (CREATE, {}), (ADD, {"id": 1, "text": "a"}), (ADD, {"id": 2, "text": "a"}))

        first, second = ((REPLACE, {"key": id, "seen": "a", "new": "a"}) for id in (1, 2))
        results = await asyncio.gather(
            write(db, first, (_WAIT, {}), second), write(db, second, (_WAIT, {}), first), return_exceptions=True
        )

        assert sorted(type(result) for result in results if result) == [Conflict]
        await db.close()


class TestConnections:
    """They are given back as they are: nothing of a session is changed, and undoing it would be a question more."""

    async def test_are_asked_nothing_besides_and_hold_no_transaction(self, postgres_url: str) -> None:
        db = await PostgresDatabase.connect(postgres_url, SystemClock(), connections=1)
        backend = (await db.fetch_all(Prepared(text("SELECT pg_backend_pid() AS pid")), {}))[0]["pid"]
        look = await asyncpg.connect(postgres_url)
        last = "SELECT state, query FROM pg_stat_activity WHERE pid = $1"
        assert tuple(await look.fetchrow(last, backend)) == ("idle", "SELECT pg_backend_pid() AS pid")

        await write(db, (CREATE, {}))
        with pytest.raises(Conflict):
            await write(db, (ADD, {"id": 1, "text": "a"}), (ADD, {"id": 1, "text": "a"}))
        assert (await look.fetchrow(last, backend))["state"] == "idle"
        assert await db.fetch_all(ALL, {}) == []
        await look.close()
        await db.close()

    async def test_that_were_cut_short_in_a_transaction_are_used_again_without_it(self, postgres_url: str) -> None:
        db = await PostgresDatabase.connect(postgres_url, SystemClock(), connections=1)
        await write(db, (CREATE, {}))
        cut_short = asyncio.create_task(write(db, (ADD, {"id": 1, "text": "a"}), (_WAIT, {})))
        await asyncio.sleep(0.1)
        cut_short.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cut_short
        assert await db.fetch_all(ALL, {}) == []
        await db.close()
