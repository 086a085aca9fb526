"""`handrail privacy encrypt` and `rotate`, with no server."""

import asyncio
import base64
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from handrail.bootstrap import services_from
from handrail.cli.app import app
from handrail.settings import read_settings
from tests.db.test_sealed import SECRET, write_conversation

KEY = base64.b64encode(b"k" * 32).decode()
NEW = base64.b64encode(b"n" * 32).decode()


def privacy(data_dir: Path, *arguments: str) -> str:
    result = CliRunner().invoke(app, ["privacy", *arguments, "--data-dir", str(data_dir)])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.usefixtures("sqlite_url")
def test_an_empty_database_is_sealed_and_its_keys_rotate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HANDRAIL_ENCRYPTION__MASTER_KEY", KEY)
    assert "0 rows sealed, 0 retired keys destroyed" in privacy(tmp_path, "encrypt")
    monkeypatch.setenv("HANDRAIL_ENCRYPTION__MASTER_KEY", f"{NEW},{KEY}")
    said = privacy(tmp_path, "rotate", "--data-keys")
    assert "0 data keys are under the current master key" in said
    assert "0 users have a new key" in said
    assert (tmp_path / "keys.db").stat().st_mode & 0o077 == 0


@pytest.mark.usefixtures("sqlite_url")
def test_without_a_master_key_it_says_what_to_set(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["privacy", "encrypt", "--data-dir", str(tmp_path)])
    assert result.exit_code != 0
    assert "HANDRAIL_ENCRYPTION__MASTER_KEY" in str(result.exception) + result.output
    assert not (tmp_path / "keys.db").exists()


@pytest.mark.usefixtures("sqlite_url")
def test_a_user_is_exported_and_erased(tmp_path: Path) -> None:
    assert "0 conversations of 'ann'" in privacy(tmp_path, "export", "ann", "--out", str(tmp_path / "ann.jsonl"))
    assert (tmp_path / "ann.jsonl").stat().st_mode & 0o077 == 0
    said = privacy(tmp_path, "erase", "ann", "--tenant", "acme")
    assert "there was no key" in said
    assert "backups made before" in said


def _written(data_dir: Path, users: int) -> None:
    """Conversations of so many users, in a database with nobody at it."""

    async def write() -> None:
        async with services_from(read_settings(data_dir=data_dir)) as services:
            for number in range(users):
                await write_conversation(services.db, services.clock.micros(), f"user-{number}", str(number))

    asyncio.run(write())


def test_a_log_of_nobody_is_a_file_for_its_owner_alone(tmp_path: Path) -> None:
    _written(tmp_path, 3)
    out = tmp_path / "log.jsonl"
    assert "bytes" in privacy(tmp_path, "log-export", "--least-users", "3", "--out", str(out))
    assert out.stat().st_mode & 0o077 == 0
    header, *lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert (header["k"], len(lines)) == (3, 3)
    assert SECRET not in out.read_text()
    assert len(privacy(tmp_path, "log-export", "--least-users", "3", "--keep-words").splitlines()) == 4


def test_a_log_that_cannot_be_written_leaves_no_file(tmp_path: Path) -> None:
    _written(tmp_path, 1)
    out = tmp_path / "log.jsonl"
    result = CliRunner().invoke(app, ["privacy", "log-export", "--out", str(out), "--data-dir", str(tmp_path)])
    assert "fewer than 5 users" in str(result.exception)
    assert not out.exists()
    out.write_text("mine")
    result = CliRunner().invoke(app, ["privacy", "log-export", "--out", str(out), "--data-dir", str(tmp_path)])
    assert result.exit_code != 0
    assert out.read_text() == "mine"
