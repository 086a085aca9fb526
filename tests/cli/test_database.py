"""`handrail db` at the command line."""

import json
import os
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from handrail.db.owner import OwnerLock
from tests.children import command


def handrail(*arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HANDRAIL_")}
    return command("db", *arguments, home=home, env=environment | {"HANDRAIL_DATA_DIR": str(home)})


@pytest.fixture
def home(sqlite_url: str, tmp_path: Path) -> Path:
    """A data folder with a migrated database."""
    assert (tmp_path / "handrail.db").exists()
    return tmp_path


class TestDb:
    def test_copies_checks_and_restores(self, home: Path) -> None:
        made = handrail("backup", "copy.db", home=home)
        assert (made.returncode, made.stderr) == (0, "")
        assert handrail("check", "--file", "copy.db", home=home).returncode == 0
        restored = handrail("restore", "copy.db", home=home)
        assert restored.returncode == 0, restored.stderr
        assert "handrail.db.before-restore-" in restored.stdout

    def test_check_is_silent_about_nothing_and_exits_1_on_damage(self, home: Path) -> None:
        good = handrail("check", "--json", home=home)
        assert good.returncode == 0, good.stderr
        assert json.loads(good.stdout)["ok"] is True
        with closing(sqlite3.connect(home / "handrail.db")) as connection, connection:
            connection.execute(
                "INSERT INTO conversation VALUES "
                "('conv_1', 'default', 'ana', 'shop', 'r', 'api', NULL, 3, 0, NULL, 1, 1)"
            )
        bad = handrail("check", home=home)
        assert bad.returncode == 1
        assert (
            "FAILED  the turns of a conversation are numbered without holes: 1 rows break it, such as conv_1"
            in bad.stdout
        )

    def test_check_finds_rows_that_refer_to_nothing(self, home: Path) -> None:
        with closing(sqlite3.connect(home / "handrail.db")) as connection, connection:
            connection.execute("INSERT INTO release_file VALUES ('default', 'rel_x', 'agent.yaml', x'00')")
        bad = handrail("check", home=home)
        assert bad.returncode == 1
        assert "refers to a 'release' that is not there" in bad.stdout

    def test_check_of_an_older_schema_says_how_to_bring_it_up(self, home: Path) -> None:
        with closing(sqlite3.connect(home / "handrail.db")) as connection, connection:
            connection.execute("UPDATE alembic_version SET version_num = '0001'")
        bad = handrail("check", home=home)
        assert bad.returncode == 1
        assert "written by an older version" in bad.stdout
        assert "`handrail db migrate` brings it up" in bad.stdout

    def test_migrate_says_what_is_missing(self, tmp_path: Path) -> None:
        empty = tmp_path / "empty"
        empty.mkdir()
        done = handrail("migrate", home=empty)
        assert (done.returncode, "there is no data in" in done.stderr) == (1, True)

    def test_migrate_of_a_current_schema_changes_nothing(self, home: Path) -> None:
        assert handrail("migrate", home=home).returncode == 0

    @pytest.mark.parametrize("command", ["restore", "migrate"])
    def test_nothing_is_put_under_a_running_server(self, home: Path, command: str) -> None:
        assert handrail("backup", "copy.db", home=home).returncode == 0
        lock = OwnerLock(home)
        lock.acquire("http://127.0.0.1:1")
        try:
            arguments = ("copy.db",) if command == "restore" else ()
            refused = handrail(command, *arguments, home=home)
        finally:
            lock.release()
        assert refused.returncode == 1
        assert "Traceback" not in refused.stderr
        assert "in use by process" in refused.stderr or "a server runs" in refused.stderr

    def test_a_backup_is_taken_while_a_server_runs(self, home: Path) -> None:
        lock = OwnerLock(home)
        lock.acquire("http://127.0.0.1:1")
        try:
            assert handrail("backup", "copy.db", home=home).returncode == 0
        finally:
            lock.release()


def test_each_command_is_for_the_audit_log(home: Path) -> None:
    assert handrail("backup", "copy.db", home=home).returncode == 0
    assert handrail("check", home=home).returncode == 0
    assert handrail("restore", "copy.db", home=home).returncode == 0
    lines = [json.loads(line) for line in (home / "audit.pending").read_text().splitlines()]
    assert [each["action"].removeprefix("database.") for each in lines] == ["backed_up", "checked", "restored"]
