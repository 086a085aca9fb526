"""A command that looks for data, or changes what is there, makes no folder where there is none, and says what to do."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

from handrail.cli.app import app
from handrail.cli.local_server import NoData
from handrail.db.owner import OwnerLock

# They may begin a data folder.
BEGINS = {"serve", "demo", "simulate", "release create", "keys create", "db restore", "guard calibrate"}
# They work without one, and make none.
WITHOUT = {"chat", "guard scan", "guard eval"}
ARGUMENTS = {"hours": "1", "days": "1", "set_": "order=1", "kind": "tool"}


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    for name, each in getattr(command, "commands", {}).items():
        yield from commands(each, (*path, name))
    if not hasattr(command, "commands"):
        yield " ".join(path), command


COMMANDS = dict(commands(typer.main.get_command(app)))
OF_DATA = {name for name, each in COMMANDS.items() if "data_dir" in {one.name for one in each.params}}


def required(name: str, folder: Path) -> list[str]:
    """What the command needs besides its data folder."""
    given = list[str]()
    for each in COMMANDS[name].params:
        if each.required:
            value = str(folder / "a.file") if each.name == "file" else ARGUMENTS.get(each.name, "x")
            given += [value] if each.param_type_name == "argument" else [each.opts[0], value]
    return given


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", sorted(OF_DATA - BEGINS - WITHOUT))
def test_without_data_says_so_and_leaves_nothing_behind(name: str, empty: Path) -> None:
    given = [*name.split(), *required(name, empty), "--data-dir", "nowhere"]
    done = CliRunner().invoke(app, given)
    assert isinstance(done.exception, NoData), (done.output, done.exception)
    assert "there is no data in 'nowhere'" in done.exception.message
    assert "--data-dir" in done.exception.message
    assert list(empty.iterdir()) == []


def test_a_new_command_is_one_that_begins_data_or_does_without_or_is_tried_here() -> None:
    assert BEGINS | WITHOUT <= OF_DATA


@pytest.mark.parametrize("name", ["guard scan", "guard eval"])
def test_what_needs_no_data_makes_no_folder(name: str, empty: Path) -> None:
    rows = empty / "rows.jsonl"
    rows.write_text('{"id": "1", "text": "hello", "label": 0}\n')
    done = CliRunner().invoke(app, [*name.split(), str(rows), "--data-dir", "nowhere"])
    assert done.exit_code == 0, done.output
    assert list(empty.iterdir()) == [rows]


def test_a_folder_that_holds_something_else_is_left_as_it_is(empty: Path) -> None:
    (empty / "notes.txt").write_text("mine")
    done = CliRunner().invoke(app, ["scorecard", "show", "--data-dir", "."])
    assert isinstance(done.exception, NoData)
    assert [each.name for each in empty.iterdir()] == ["notes.txt"]


def test_a_server_that_has_not_made_its_database_yet_is_asked(empty: Path) -> None:
    lock = OwnerLock(empty)
    lock.acquire("http://127.0.0.1:9")
    try:
        done = CliRunner().invoke(app, ["scorecard", "show", "--data-dir", "."])
    finally:
        lock.release()
    assert "the server at http://127.0.0.1:9 does not answer" in str(done.exception)


def test_a_key_may_be_made_before_the_first_start(empty: Path) -> None:
    made = CliRunner().invoke(app, ["keys", "create", "--subject", "olga", "--role", "admin", "--data-dir", "new"])
    assert made.exit_code == 0, made.exception
    listed = CliRunner().invoke(app, ["keys", "list", "--data-dir", "new"])
    assert "olga" in listed.output
