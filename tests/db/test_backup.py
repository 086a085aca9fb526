"""Backups hold all of a database as of one moment, and a restore is all or nothing."""

import asyncio
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import asyncpg
import pytest

from handrail.core.errors import UsageError
from handrail.db import StoreUnavailable, WrongDatabase
from handrail.db.backup import BackupFailed, back_up_sqlite, restore_sqlite
from handrail.db.migrate import migrate
from handrail.db.postgres_copy import InUse, back_up_postgres, restore_postgres
from tests.servers import free_port

NAME = "zebra ü \u2028"


def conversation(number: int) -> tuple[object, ...]:
    return (f"conv_{number}", "default", NAME, "shop", "rel_1", "api", None, 0, 0, None, number, number)


ADD = "INSERT INTO conversation VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


@pytest.fixture
def database(sqlite_url: str) -> Path:
    """With a few rows, in WAL mode as a server leaves it."""
    path = Path(sqlite_url.removeprefix("sqlite:///"))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.executemany(ADD, [conversation(number) for number in range(1200)])
        connection.execute("INSERT INTO artefact VALUES ('default', 'head', 'x', 'y', ?, 1)", (bytes(range(256)) * 40,))
    return path


def ids(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return [row[0] for row in connection.execute("SELECT id FROM conversation ORDER BY created_at")]


def rows(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """All of a file: table to rows in a fixed order."""
    with closing(sqlite3.connect(path)) as connection:
        tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {table: sorted(connection.execute(f'SELECT * FROM "{table}"').fetchall(), key=repr) for table in tables}


def names(folder: Path, beginning: str) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(beginning)]


class TestABackup:
    def test_holds_what_was_committed_and_not_what_was_not(self, database: Path, tmp_path: Path) -> None:
        with closing(sqlite3.connect(database)) as writer:
            writer.execute("BEGIN IMMEDIATE")
            writer.execute(ADD, conversation(5000))
            back_up_sqlite(database, tmp_path / "copy")
        assert ids(tmp_path / "copy") == [f"conv_{number}" for number in range(1200)]
        assert rows(tmp_path / "copy") == rows(database)

    def test_is_one_file_for_its_owner_alone(self, database: Path, tmp_path: Path) -> None:
        back_up_sqlite(database, tmp_path / "backups.db")
        assert [path.name for path in tmp_path.glob("backups*")] == ["backups.db"]
        assert (tmp_path / "backups.db").stat().st_mode & 0o777 == 0o600

    def test_never_replaces_a_file(self, database: Path, tmp_path: Path) -> None:
        (tmp_path / "copy").write_text("something dear")
        with pytest.raises(UsageError, match="is there already; name a new file"):
            back_up_sqlite(database, tmp_path / "copy")
        assert (tmp_path / "copy").read_text() == "something dear"

    def test_on_a_full_disk_says_so_and_leaves_nothing(self, database: Path, tmp_path: Path) -> None:
        """The kernel refuses to let a file grow beyond a limit, as a full disk does."""
        code = (
            "import resource, signal, sys\n"
            "from pathlib import Path\n"
            "from handrail.db.backup import BackupFailed, back_up_sqlite\n"
            "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))\n"
            "try:\n"
            "    back_up_sqlite(Path(sys.argv[1]), Path(sys.argv[2]))\n"
            "except BackupFailed as error:\n"
            "    print(error.message)\n"
        )
        copy = tmp_path / "copy"
        done = subprocess.run([sys.executable, "-c", code, database, copy], capture_output=True, text=True, check=True)
        assert "can't write" in done.stdout
        assert "nothing is left of it" in done.stdout
        assert list(tmp_path.glob("copy*")) == []

    def test_of_a_damaged_database_is_refused(self, database: Path, tmp_path: Path) -> None:
        with database.open("r+b") as file:
            file.seek(3 * 4096)
            file.write(b"\xff" * 8192)
        with pytest.raises(BackupFailed, match=r"damaged|malformed"):
            back_up_sqlite(database, tmp_path / "copy")
        assert list(tmp_path.glob("copy*")) == []

    def test_of_nothing_names_the_file(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match=r"there is no file '.*handrail\.db'"):
            back_up_sqlite(tmp_path / "handrail.db", tmp_path / "copy")


class TestARestore:
    @pytest.fixture
    def backup(self, database: Path, tmp_path: Path) -> Path:
        back_up_sqlite(database, tmp_path / "backup")
        with closing(sqlite3.connect(database)) as connection, connection:
            connection.execute("DELETE FROM conversation")
            connection.execute(ADD, conversation(7))
        return tmp_path / "backup"

    def test_brings_everything_back_and_keeps_the_old_file(self, database: Path, backup: Path) -> None:
        old = restore_sqlite(backup, database)
        assert rows(database) == rows(backup)
        assert old is not None
        assert ids(old) == ["conv_7"]
        assert {path.stat().st_mode & 0o777 for path in (database, old)} <= {0o600, 0o644}
        assert database.stat().st_mode & 0o777 == 0o600

    def test_is_not_spoiled_by_a_log_that_a_killed_process_left(self, database: Path, backup: Path) -> None:
        code = (
            "import os, sqlite3, sys\n"
            "connection = sqlite3.connect(sys.argv[1])\n"
            "connection.execute('PRAGMA wal_autocheckpoint=0')\n"
            "connection.execute(\"UPDATE conversation SET subject = 'late'\")\n"
            "connection.commit()\n"
            "os._exit(9)\n"
        )
        subprocess.run([sys.executable, "-c", code, database], check=False)
        assert database.with_name("handrail.db-wal").stat().st_size > 0
        old = restore_sqlite(backup, database)
        assert rows(database) == rows(backup)
        assert old is not None
        with closing(sqlite3.connect(old)) as connection:
            assert connection.execute("SELECT subject FROM conversation").fetchall() == [("late",)]

    def test_to_an_empty_folder_needs_no_old_file(self, backup: Path, tmp_path: Path) -> None:
        assert restore_sqlite(backup, tmp_path / "new" / "handrail.db") is None
        assert rows(tmp_path / "new" / "handrail.db") == rows(backup)

    def test_of_a_newer_version_is_refused(self, database: Path, backup: Path) -> None:
        with closing(sqlite3.connect(backup)) as connection, connection:
            connection.execute("UPDATE alembic_version SET version_num = '9999'")
        with pytest.raises(WrongDatabase, match=r"'9999'.*use the version that wrote it"):
            restore_sqlite(backup, database)
        assert ids(database) == ["conv_7"]

    def test_over_a_newer_version_is_refused(self, database: Path, backup: Path) -> None:
        with closing(sqlite3.connect(database)) as connection, connection:
            connection.execute("UPDATE alembic_version SET version_num = '9999'")
        with pytest.raises(WrongDatabase, match="'9999'"):
            restore_sqlite(backup, database)
        assert ids(database) == ["conv_7"]

    def test_over_a_damaged_database_keeps_it_as_it_is(self, database: Path, backup: Path) -> None:
        database.write_bytes(b"nothing of use" * 1000)
        old = restore_sqlite(backup, database)
        assert rows(database) == rows(backup)
        assert old is not None
        assert old.read_bytes().startswith(b"nothing of use")

    @pytest.mark.parametrize("damage", ["cut", "text", "foreign"])
    def test_of_what_is_no_whole_backup_is_refused(
        self, database: Path, backup: Path, tmp_path: Path, damage: str
    ) -> None:
        bad = tmp_path / "bad"
        if damage == "cut":
            bad.write_bytes(backup.read_bytes()[: 40 * 4096])
        elif damage == "text":
            bad.write_text("no database at all" * 1000)
        else:
            with closing(sqlite3.connect(bad)) as connection:
                connection.execute("CREATE TABLE x (y)")
        with pytest.raises((UsageError, BackupFailed, WrongDatabase)):
            restore_sqlite(bad, database)
        assert ids(database) == ["conv_7"]
        assert [path.name for path in database.parent.glob("handrail.db?*") if "restore" in path.name] == []

    @pytest.mark.parametrize("at", range(6))
    def test_that_is_killed_leaves_the_old_or_the_new_database(self, database: Path, backup: Path, at: int) -> None:
        """Killed at each call that changes a name on the disk, one after another."""
        code = (
            "import os, sys\n"
            "from pathlib import Path\n"
            "from handrail.db.backup import restore_sqlite\n"
            "left = [int(sys.argv[3])]\n"
            "def dying(call):\n"
            "    def wrapped(*arguments, **named):\n"
            "        if left[0] == 0:\n"
            "            os._exit(9)\n"
            "        left[0] -= 1\n"
            "        return call(*arguments, **named)\n"
            "    return wrapped\n"
            "for name in ('replace', 'link', 'unlink', 'fsync'):\n"
            "    setattr(os, name, dying(getattr(os, name)))\n"
            "restore_sqlite(Path(sys.argv[1]), Path(sys.argv[2]))\n"
        )
        subprocess.run([sys.executable, "-c", code, backup, database, str(at)], check=False, capture_output=True)
        assert ids(database) in (["conv_7"], ids(backup))
        restore_sqlite(backup, database)
        assert rows(database) == rows(backup)


@pytest.mark.postgres
class TestPostgres:
    async def test_takes_an_sqlite_backup_and_gives_it_back_the_same(
        self, database: Path, blank_postgres_url: str, tmp_path: Path
    ) -> None:
        back_up_sqlite(database, tmp_path / "one")
        assert await restore_postgres(blank_postgres_url, tmp_path / "one") is None
        await back_up_postgres(blank_postgres_url, tmp_path / "two")
        assert rows(tmp_path / "two") == rows(tmp_path / "one")

    async def test_is_migrated_and_read_as_of_one_moment(
        self, database: Path, blank_postgres_url: str, tmp_path: Path
    ) -> None:
        await restore_postgres(blank_postgres_url, database)
        await migrate(blank_postgres_url)
        stop = asyncio.Event()

        async def write() -> None:
            connection = await asyncpg.connect(blank_postgres_url)
            number = 10_000
            while not stop.is_set():
                # Two rows that belong together: a backup with one of them is torn.
                async with connection.transaction():
                    for each in (number, number + 1):
                        await connection.execute(
                            "INSERT INTO conversation VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12)",
                            *conversation(each),
                        )
                number += 2
            await connection.close()

        writing = asyncio.create_task(write())
        await back_up_postgres(blank_postgres_url, tmp_path / "copy")
        stop.set()
        await writing
        assert len(ids(tmp_path / "copy")) % 2 == 0

    async def test_keeps_what_was_there_in_a_schema_of_its_own(
        self, database: Path, blank_postgres_url: str, tmp_path: Path
    ) -> None:
        await restore_postgres(blank_postgres_url, database)
        with closing(sqlite3.connect(database)) as connection, connection:
            connection.execute("DELETE FROM conversation")
        schema = await restore_postgres(blank_postgres_url, database)
        connection = await asyncpg.connect(blank_postgres_url)
        assert await connection.fetchval(f'SELECT count(*) FROM "{schema}".conversation') == 1200
        assert await connection.fetchval("SELECT count(*) FROM conversation") == 0
        await connection.close()

    async def test_moves_nothing_of_others(self, database: Path, blank_postgres_url: str) -> None:
        await restore_postgres(blank_postgres_url, database)
        connection = await asyncpg.connect(blank_postgres_url)
        await connection.execute("CREATE TABLE theirs (x int)")
        await connection.close()
        await restore_postgres(blank_postgres_url, database)
        connection = await asyncpg.connect(blank_postgres_url)
        assert await connection.fetchval("SELECT to_regclass('public.theirs') IS NOT NULL")
        await connection.close()

    async def test_over_a_newer_version_is_as_it_was(self, database: Path, blank_postgres_url: str) -> None:
        await restore_postgres(blank_postgres_url, database)
        connection = await asyncpg.connect(blank_postgres_url)
        await connection.execute("UPDATE alembic_version SET version_num = '9999'")
        await connection.close()
        with pytest.raises(WrongDatabase, match="'9999'"):
            await restore_postgres(blank_postgres_url, database)

    async def test_refuses_while_somebody_is_connected(self, database: Path, blank_postgres_url: str) -> None:
        connection = await asyncpg.connect(blank_postgres_url)
        with pytest.raises(InUse, match=r"1 other connection\(s\).*stop every server"):
            await restore_postgres(blank_postgres_url, database)
        assert await connection.fetchval("SELECT to_regclass('conversation')") is None
        await connection.close()

    async def test_is_as_it_was_when_a_row_does_not_fit(self, database: Path, blank_postgres_url: str) -> None:
        """The character zero is text in SQLite and in no PostgreSQL."""
        await restore_postgres(blank_postgres_url, database)
        with closing(sqlite3.connect(database)) as connection, connection:
            connection.execute("UPDATE conversation SET subject = 'a' || char(0) || 'b' WHERE id = 'conv_999'")
        with pytest.raises(StoreUnavailable, match="is as it was"):
            await restore_postgres(blank_postgres_url, database)
        connection = await asyncpg.connect(blank_postgres_url)
        assert await connection.fetchval("SELECT count(*) FROM conversation") == 1200
        schemas = await connection.fetch("SELECT 1 FROM pg_namespace WHERE nspname LIKE 'before_restore%'")
        await connection.close()
        assert schemas == []

    async def test_that_does_not_answer_leaves_no_file(self, tmp_path: Path) -> None:
        with pytest.raises(StoreUnavailable, match="can't reach PostgreSQL"):
            await back_up_postgres(f"postgresql://postgres@127.0.0.1:{free_port()}/x", tmp_path / "copy")
        assert names(tmp_path, "copy") == []

    async def test_without_our_tables_is_no_database_of_ours(self, blank_postgres_url: str, tmp_path: Path) -> None:
        with pytest.raises(WrongDatabase, match="holds no Handrail database"):
            await back_up_postgres(blank_postgres_url, tmp_path / "copy")
