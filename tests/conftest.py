"""What all tests share: async tests, a clock that stands still, and a fresh database on either store."""

import asyncio
import inspect
import shutil
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest

from handrail.core.clock import FrozenClock
from handrail.db import Database
from handrail.db.migrate import migrate
from handrail.db.open import open_database
from tests.servers import PostgresServer


def pytest_configure(config: pytest.Config) -> None:
    # Its plugin needs pytest-asyncio, which is not used here; the library itself works without.
    plugins = config.pluginmanager
    if plugins.has_plugin("looptime_plugin") and not plugins.has_plugin("asyncio"):
        plugins.unregister(name="looptime_plugin")


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makeitem(collector: pytest.Collector, name: str, obj: object) -> None:
    """Every `async def test_…` runs on asyncio without a mark of its own."""
    if inspect.iscoroutinefunction(obj) and name.startswith("test"):
        pytest.mark.anyio(obj)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock()


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty SQLite database at the newest revision, to be copied: migrating takes a hundred times as long."""
    path = tmp_path_factory.mktemp("sqlite") / "migrated.db"
    asyncio.run(migrate(f"sqlite:///{path}"))
    return path


@pytest.fixture
def sqlite_url(tmp_path: Path, migrated_file: Path) -> str:
    path = tmp_path / "handrail.db"
    shutil.copyfile(migrated_file, path)
    return f"sqlite:///{path}"


@pytest.fixture
async def sqlite_db(sqlite_url: str, clock: FrozenClock) -> AsyncIterator[Database]:
    database = await open_database(sqlite_url, clock)
    yield database
    await database.close()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One server a test process (a worker of xdist has its own)."""
    server = PostgresServer()
    try:
        yield server.start()
    finally:
        server.remove()


@pytest.fixture(scope="session")
def postgres_template(postgres_server: PostgresServer) -> str:
    """A migrated database that every test's own is copied from."""
    name = "handrail_template"
    asyncio.run(_execute(postgres_server.url(), f"CREATE DATABASE {name}"))
    asyncio.run(migrate(postgres_server.url(name)))
    return name


@pytest.fixture
def postgres_url(postgres_server: PostgresServer, postgres_template: str) -> Iterator[str]:
    """A fresh, migrated database, dropped after the test."""
    name = f"test_{uuid.uuid4().hex}"
    asyncio.run(_execute(postgres_server.url(), f"CREATE DATABASE {name} TEMPLATE {postgres_template}"))
    yield postgres_server.url(name)
    asyncio.run(_execute(postgres_server.url(), f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def db_url(request: pytest.FixtureRequest) -> str:
    """A fresh, migrated database of each kind: what asks for this (or `db`) is tested on both."""
    return str(request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url"))


@pytest.fixture
async def db(db_url: str, clock: FrozenClock) -> AsyncIterator[Database]:
    database = await open_database(db_url, clock)
    yield database
    await database.close()


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
