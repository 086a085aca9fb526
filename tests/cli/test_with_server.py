"""The commands while a real server holds the data folder: they ask the server."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from handrail.cli.init import scaffold
from tests.children import command
from tests.e2e.servers import LiveShop


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("projects") / "my-agent"
    scaffold(folder)
    return folder


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory, project: Path) -> Iterator[Path]:
    data = tmp_path_factory.mktemp("data")
    server = LiveShop(data, data / "server.log", project).start()
    yield data
    server.stop()


def run(data_dir: Path, *arguments: str) -> Any:
    return json.loads(handrail(data_dir, *arguments, "--json", check=True).stdout)


def handrail(data_dir: Path, *arguments: str, check: bool = False) -> subprocess.CompletedProcess[str]:
    return command(*arguments, "--data-dir", str(data_dir), home=data_dir, env=os.environ, check=check)


def test_releases_are_made_compared_and_used_by_the_running_server(data_dir: Path, project: Path):
    (served,) = run(data_dir, "release", "list")["data"]
    with (project / "instructions.md").open("a") as file:
        file.write("\nBe brief.\n")
    changed = run(data_dir, "release", "diff", served["id"], "--project", str(project))
    made = run(data_dir, "release", "create", "--project", str(project), "--note", "shorter")
    used = run(data_dir, "release", "use", made["id"])
    shown = run(data_dir, "release", "show", made["id"][:12])

    assert served["stable"]
    assert [change["path"] for change in changed["changes"]] == ["instructions.md"]
    assert (made["author"], made["note"]) == ("local-operator", "shorter")
    assert (used["stable_release_id"], used["previous_release_id"]) == (made["id"], served["id"])
    assert shown["stable"]


def test_keys_are_made_listed_and_revoked_in_any_tenant(data_dir: Path):
    made = run(data_dir, "keys", "create", "--tenant", "acme", "--subject", "ann")
    listed = run(data_dir, "keys", "list", "--tenant", "acme")["data"]
    revoked = run(data_dir, "keys", "revoke", made["id"], "--tenant", "acme")

    assert [key["id"] for key in listed] == [made["id"]]
    assert run(data_dir, "keys", "list", "--tenant", "default")["data"] == []
    assert revoked["revoked_at"] is not None


def test_a_mistake_is_told_in_the_servers_own_words(data_dir: Path):
    result = handrail(data_dir, "release", "show", "rel_0000000000000000")
    assert result.returncode == 1
    assert "rel_0000000000000000" in result.stderr
    assert "Traceback" not in result.stderr


def test_the_audit_log_is_searched_exported_and_proved_while_the_server_runs(data_dir: Path, tmp_path: Path):
    made = run(data_dir, "keys", "create", "--tenant", "acme", "--subject", "zoe@example.com")
    (record,) = run(data_dir, "audit", "search", "--tenant", "acme", "--target", f"key:{made['id']}")["data"]
    verified = run(data_dir, "audit", "verify")
    file = tmp_path / "audit.jsonl"
    handrail(data_dir, "audit", "export", str(file), check=True)

    assert (record["action"], record["actor_name"]) == ("key.made", "local-operator")
    assert verified["intact"]
    assert file.stat().st_mode & 0o777 == 0o600
    assert "zoe@" not in file.read_text()
    file.write_text(file.read_text().replace("key.made", "key.kept"))
    changed = command("audit", "verify", str(file), home=tmp_path, env=os.environ)
    assert changed.returncode == 1
    assert "NOT intact" in changed.stdout
