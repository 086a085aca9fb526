"""From a URL to a database at the newest revision, whoever opens it and how many at once."""

import asyncio
import importlib
import sqlite3
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import create_async_engine

import handrail
from handrail.core.clock import FrozenClock
from handrail.core.errors import UsageError
from handrail.db import StoreUnavailable, WrongDatabase, metadata
from handrail.db.migrate import migrate
from handrail.db.open import open_database
from tests.servers import free_port


def _declare_all_tables() -> None:
    package = Path(handrail.__file__).parent
    for path in package.glob("*/*/tables.py"):
        importlib.import_module(".".join(("handrail", *path.relative_to(package).with_suffix("").parts)))


# One database alone has it, by an expression that the other has no function for.
ONLY_POSTGRESQL = "ix_search_entry_words"


def _differences(connection: Any) -> list[Any]:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    _declare_all_tables()
    return compare_metadata(MigrationContext.configure(connection, opts={"include_name": _is_compared}), metadata)


def _is_compared(name: str | None, _kind: str, _parents: Any) -> bool:
    return name != ONLY_POSTGRESQL


class TestMigrations:
    def test_make_in_sqlite_exactly_the_tables_that_the_rooms_declare(self, sqlite_url: str) -> None:
        engine = create_engine(sqlite_url)
        with engine.connect() as connection:
            differences = _differences(connection)
        engine.dispose()

        assert differences == []

    @pytest.mark.postgres
    async def test_make_in_postgresql_exactly_the_tables_that_the_rooms_declare(self, postgres_url: str) -> None:
        engine = create_async_engine(postgres_url.replace("postgresql://", "postgresql+asyncpg://"))
        async with engine.connect() as connection:
            differences = await connection.run_sync(_differences)
        await engine.dispose()

        assert differences == []

    @pytest.mark.postgres
    async def test_of_replicas_that_start_together_run_once(self, blank_postgres_url: str) -> None:
        await asyncio.gather(*(migrate(blank_postgres_url) for _ in range(3)))

        connection = await asyncpg.connect(blank_postgres_url)
        revisions = await connection.fetch("SELECT version_num FROM alembic_version")
        await connection.close()
        assert len(revisions) == 1


class TestOpenDatabase:
    async def test_makes_the_folder_and_the_schema_and_opens_again_what_is_there(
        self, tmp_path: Path, clock: FrozenClock
    ) -> None:
        url = f"sqlite:///{tmp_path / 'new' / 'handrail.db'}"
        for _ in range(2):
            await (await open_database(url, clock)).close()

        tables = sqlite3.connect(tmp_path / "new" / "handrail.db")
        names = {name for (name,) in tables.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        tables.close()
        assert {"conversation", "turn", "message", "api_key"} <= names

    async def test_refuses_a_database_of_a_newer_version(self, sqlite_url: str, clock: FrozenClock) -> None:
        newer = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))
        with newer:
            newer.execute("UPDATE alembic_version SET version_num = '9999'")
        newer.close()

        with pytest.raises(WrongDatabase, match=r"'9999'.*start the version that wrote it"):
            await open_database(sqlite_url, clock)

    async def test_refuses_a_file_that_is_no_database(self, tmp_path: Path, clock: FrozenClock) -> None:
        path = tmp_path / "handrail.db"
        path.write_bytes(b"this is not a database at all" * 100)

        with pytest.raises(WrongDatabase, match=r"handrail\.db.*not a database"):
            await open_database(f"sqlite:///{path}", clock)

    @pytest.mark.parametrize("url", ["mysql://localhost/x", "handrail.db", ""])
    async def test_names_the_urls_it_knows(self, clock: FrozenClock, url: str) -> None:
        with pytest.raises(UsageError, match=r"sqlite:///FILE or postgresql://"):
            await open_database(url, clock)

    async def test_says_that_postgresql_can_not_be_reached(self, clock: FrozenClock) -> None:
        with pytest.raises(StoreUnavailable, match="can't reach PostgreSQL"):
            await open_database(f"postgresql://postgres@127.0.0.1:{free_port()}/x", clock)

    @pytest.mark.postgres
    async def test_says_that_the_postgresql_database_does_not_exist(
        self, postgres_server: Any, clock: FrozenClock
    ) -> None:
        with pytest.raises(StoreUnavailable, match="nothing_here"):
            await open_database(postgres_server.url("nothing_here"), clock)


async def test_a_new_database_can_be_read_by_its_owner_alone(tmp_path: Path, clock: FrozenClock) -> None:
    folder = tmp_path / "data"
    database = await open_database(f"sqlite:///{folder / 'handrail.db'}", clock)
    await database.close()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
