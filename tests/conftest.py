"""What all tests share: async tests, a clock that stands still, and a fresh database on either store."""

import asyncio
import inspect
import os
import shutil
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
from hypothesis import settings

from handrail.core.clock import FrozenClock
from handrail.db import Database
from handrail.db.migrate import migrate
from handrail.db.postgres import PostgresDatabase
from handrail.db.sqlite import SqliteDatabase
from tests.children import end_nursery
from tests.servers import PostgresServer, ValkeyServer

# What takes more than half a minute, in about the order of how long.
LONGEST = (
    "tests/integration/crash/test_crash.py",
    "tests/jobs/test_crash.py",
    "tests/integration/",
    "tests/e2e/",
    "tests/jobs/",
    "tests/db/test_forward.py",
    "tests/http/test_access.py",
    "tests/http/test_any_request.py",
    "tests/testing/drill/",
    "tests/flows/",
)


def pytest_configure(config: pytest.Config) -> None:
    _keep_bytecode()
    # Its plugin needs pytest-asyncio, which is not used here; the library itself works without.
    plugins = config.pluginmanager
    if plugins.has_plugin("looptime_plugin") and not plugins.has_plugin("asyncio"):
        plugins.unregister(name="looptime_plugin")
    # How long an example takes says more about the machine than about the code.
    settings.register_profile("handrail", deadline=None)
    settings.load_profile("handrail")


def _keep_bytecode() -> None:
    """Tests start hundreds of processes, and one that finds no bytecode compiles 1,300 modules, a second's work.

    Who wants none in the source tree has it in the environment of the tests.
    """
    if os.environ.pop("PYTHONDONTWRITEBYTECODE", None):
        os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix = str(Path(sys.prefix) / "bytecode")
        sys.dont_write_bytecode = False


def pytest_sessionfinish() -> None:
    end_nursery()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, so that no processor waits at the end for another that has just begun one."""
    items.sort(key=lambda item: _place(item.nodeid))


def _place(nodeid: str) -> int:
    return next((place for place, name in enumerate(LONGEST) if nodeid.startswith(name)), len(LONGEST))


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
    database = await _open(sqlite_url, clock)
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
def migrated_postgres(postgres_server: PostgresServer) -> str:
    """A database at the newest revision, which the tests of this process use one after another."""
    asyncio.run(_execute(postgres_server.url(), "CREATE DATABASE handrail"))
    url = postgres_server.url("handrail")
    asyncio.run(migrate(url))
    return url


@pytest.fixture
def postgres_url(migrated_postgres: str) -> Iterator[str]:
    """An empty, migrated database; emptied afterwards, which takes a tenth of the time of making one."""
    yield migrated_postgres
    asyncio.run(_execute(migrated_postgres, _EMPTY))


@pytest.fixture
def blank_postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """A database of the test's own without any schema."""
    name = f"blank_{uuid.uuid4().hex}"
    asyncio.run(_execute(postgres_server.url(), f"CREATE DATABASE {name}"))
    yield postgres_server.url(name)
    asyncio.run(_execute(postgres_server.url(), f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[ValkeyServer]:
    """One server a test process; who kills it starts it again."""
    server = ValkeyServer()
    try:
        yield server.start()
    finally:
        server.remove()


@pytest.fixture
def valkey_url(valkey_server: ValkeyServer) -> Iterator[str]:
    """An empty server."""
    yield valkey_server.url
    valkey_server.empty()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def db_url(request: pytest.FixtureRequest) -> str:
    """A fresh, migrated database of each kind: what asks for this (or `db`) is tested on both."""
    return str(request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url"))


@pytest.fixture
async def db(db_url: str, clock: FrozenClock) -> AsyncIterator[Database]:
    database = await _open(db_url, clock)
    yield database
    await database.close()


# Ends what a failed test left open, drops the tables and the key store that tests made, and deletes all rows whatever
# refers to them.
_EMPTY = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid();
SET session_replication_role = replica;
DROP SCHEMA IF EXISTS handrail_keys CASCADE;
DO $$
DECLARE name text;
BEGIN
    FOR name IN SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public' LOOP
        IF name = 'thing' THEN EXECUTE 'DROP TABLE thing';
        ELSIF name <> 'alembic_version' THEN EXECUTE 'DELETE FROM ' || name;
        END IF;
    END LOOP;
END $$
"""


async def _open(url: str, clock: FrozenClock) -> Database:
    """As `open_database`, without asking Alembic again: the copy is at the newest revision."""
    if url.startswith("sqlite:///"):
        return SqliteDatabase(url.removeprefix("sqlite:///"), clock)
    return await PostgresDatabase.connect(url, clock, connections=4)


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
