"""A PostgreSQL that does not answer: given up in time, and left alone while it keeps failing."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import literal, select

from handrail.core.clock import SystemClock
from handrail.db import Prepared, StoreUnavailable
from handrail.db.postgres import PostgresDatabase
from handrail.testing import FaultProxy, HalfOpen

ONE = Prepared(select(literal(1).label("one")))
pytestmark = pytest.mark.postgres


class Book:
    """A guard that writes down how uses went, and refuses them when told to."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.refuses = False

    def __call__(self) -> "Book":
        if self.refuses:
            raise StoreUnavailable("left alone", retry_after_seconds=5.0)
        return self

    def success(self, seconds: float) -> None:
        self.told.append("success")

    def failure(self, seconds: float) -> None:
        self.told.append("failure")

    def cancelled(self) -> None:
        self.told.append("over")


@pytest.fixture
def book() -> Book:
    return Book()


@pytest.fixture
async def proxy(postgres_url: str) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(_port(postgres_url)) as made:
        yield made


@pytest.fixture
async def database(postgres_url: str, proxy: FaultProxy, book: Book) -> AsyncIterator[PostgresDatabase]:
    url = postgres_url.replace(f":{_port(postgres_url)}/", f":{proxy.port}/")
    made = await PostgresDatabase.connect(url, SystemClock(), connections=2, seconds=0.3, guard=book)
    yield made
    proxy.fault = None
    await made.close()


def _port(url: str) -> int:
    return int(url.rpartition(":")[2].partition("/")[0])


class TestSilentServer:
    async def test_is_given_up_in_time_and_told_to_the_guard(
        self, database: PostgresDatabase, proxy: FaultProxy, book: Book
    ) -> None:
        await database.fetch_one(ONE, {})
        proxy.fault = HalfOpen()
        with pytest.raises(StoreUnavailable) as error:
            async with asyncio.timeout(10):
                await database.fetch_one(ONE, {})
        assert error.value.retry_after_seconds == 2.0
        assert book.told == ["success", "over", "failure", "over"]

    async def test_does_not_keep_those_waiting_who_find_no_connection(
        self, database: PostgresDatabase, proxy: FaultProxy
    ) -> None:
        proxy.fault = HalfOpen()
        async with asyncio.timeout(10):
            ends = await asyncio.gather(*(database.fetch_one(ONE, {}) for _ in range(8)), return_exceptions=True)
        assert all(isinstance(end, StoreUnavailable) for end in ends)

    async def test_serves_again_when_it_answers(self, database: PostgresDatabase, proxy: FaultProxy) -> None:
        proxy.fault = HalfOpen()
        with pytest.raises(StoreUnavailable):
            await database.fetch_one(ONE, {})
        proxy.fault = None
        async with asyncio.timeout(10):
            row = await database.fetch_one(ONE, {})
        assert row is not None
        assert row["one"] == 1


class TestGuard:
    async def test_that_refuses_spares_the_server(self, database: PostgresDatabase, book: Book) -> None:
        book.refuses = True
        with pytest.raises(StoreUnavailable, match="left alone"):
            await database.fetch_one(ONE, {})
        with pytest.raises(StoreUnavailable, match="left alone"):
            async with database.batch() as batch:
                batch.add(ONE, {})
        assert book.told == []
