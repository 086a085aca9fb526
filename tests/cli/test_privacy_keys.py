"""`handrail privacy encrypt` and `rotate`, with no server."""

import base64
from pathlib import Path

import pytest
from typer.testing import CliRunner

from handrail.cli.app import app

KEY = base64.b64encode(b"k" * 32).decode()
NEW = base64.b64encode(b"n" * 32).decode()


def privacy(data_dir: Path, *arguments: str) -> str:
    result = CliRunner().invoke(app, ["privacy", *arguments, "--data-dir", str(data_dir)])
    assert result.exit_code == 0, result.output
    return result.output


def test_an_empty_database_is_sealed_and_its_keys_rotate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HANDRAIL_ENCRYPTION__MASTER_KEY", KEY)
    assert "0 rows sealed, 0 retired keys destroyed" in privacy(tmp_path, "encrypt")
    monkeypatch.setenv("HANDRAIL_ENCRYPTION__MASTER_KEY", f"{NEW},{KEY}")
    said = privacy(tmp_path, "rotate", "--data-keys")
    assert "0 data keys are under the current master key" in said
    assert "0 users have a new key" in said
    assert (tmp_path / "keys.db").stat().st_mode & 0o077 == 0


def test_without_a_master_key_it_says_what_to_set(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["privacy", "encrypt", "--data-dir", str(tmp_path)])
    assert result.exit_code != 0
    assert "HANDRAIL_ENCRYPTION__MASTER_KEY" in str(result.exception) + result.output
    assert not (tmp_path / "keys.db").exists()


def test_a_user_is_exported_and_erased(tmp_path: Path) -> None:
    assert "0 conversations of 'ann'" in privacy(tmp_path, "export", "ann", "--out", str(tmp_path / "ann.jsonl"))
    assert (tmp_path / "ann.jsonl").stat().st_mode & 0o077 == 0
    said = privacy(tmp_path, "erase", "ann", "--tenant", "acme")
    assert "there was no key" in said
    assert "backups made before" in said
