import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from handrail.cli.release import app
from handrail.core.documents import ProjectError
from handrail.core.errors import NotFound
from handrail.db.owner import AlreadyServed, OwnerLock

FILES = {"agent.yaml": "name: shop\n", "instructions.md": "Be kind.\n"}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    folder.mkdir()
    for name, text in FILES.items():
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def run(tmp_path: Path, project: Path, migrated_file: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(project)
    data = tmp_path / "data"
    data.mkdir()
    (data / "handrail.db").write_bytes(migrated_file.read_bytes())

    def invoke(*arguments: str) -> str:
        result = CliRunner().invoke(app, [*arguments, "--data-dir", str(data)])
        if result.exception:
            raise result.exception
        return result.stdout

    return invoke


def as_json(text: str) -> Any:
    return json.loads(text)


class TestRelease:
    def test_is_made_listed_shown_compared_and_used(self, run: Any, project: Path):
        first = as_json(run("create", "--note", "the first", "--json"))
        assert (first["object"], first["agent"], first["author"], first["stable"]) == (
            "release",
            "shop",
            "local-operator",
            False,
        )
        (project / "instructions.md").write_text("Be brief.\n")
        assert "+Be brief." in run("diff", first["id"])
        second = as_json(run("create", "--author", "ada", "--json"))
        assert second["author"] == "ada"

        run("use", first["id"])
        assert f"back with `handrail release use {first['id']}`" in run("use", second["id"])
        listed = as_json(run("list", "--json"))["data"]
        assert [(each["id"], each["stable"]) for each in listed] == [(second["id"], True), (first["id"], False)]
        assert run("list").splitlines()[0].startswith(f"* {second['id']}")
        assert "the first" in run("list").splitlines()[1]

        shown = as_json(run("show", first["id"][:12], "--json"))
        assert [each["path"] for each in shown["files"]] == ["agent.yaml", "instructions.md"]
        assert "-Be kind.\n+Be brief." in run("diff", first["id"], second["id"])
        assert run("diff", second["id"]) == f"no difference between {second['id']} and {second['id']}\n"

    def test_of_the_same_files_is_the_same(self, run: Any):
        assert as_json(run("create", "--json")) == as_json(run("create", "--note", "again", "--json"))

    def test_is_not_made_of_a_broken_project(self, run: Any, project: Path):
        (project / "agent.yaml").write_text("nmae: shop\n")
        with pytest.raises(ProjectError, match=r"agent.yaml:1: 'nmae' is not known here"):
            run("create")
        assert run("list") == "no releases yet; make one with `handrail release create`\n"

    def test_that_is_not_there_is_named(self, run: Any):
        with pytest.raises(NotFound, match="rel_0000000000000000"):
            run("show", "rel_0000000000000000")

    def test_is_left_to_whoever_owns_the_data_when_that_does_not_say_where_it_listens(self, run: Any, tmp_path: Path):
        lock = OwnerLock(tmp_path / "data")
        lock.acquire(None)
        try:
            with pytest.raises(AlreadyServed, match="in use"):
                run("list")
        finally:
            lock.release()
