"""`handrail release`: make, list, show, compare and use releases."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from handrail.cli.release_desk import Desk

T = TypeVar("T")
app = typer.Typer(no_args_is_help=True)

Project = Annotated[Path, typer.Option("--project", help="Folder of the agent project.")]
DataDir = Annotated[Path | None, typer.Option("--data-dir", help="Where data lives (default .handrail).")]
DatabaseUrl = Annotated[str | None, typer.Option(help="postgresql://... instead of SQLite in the data folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
ReleaseId = Annotated[str, typer.Argument(help="A release's id, or the beginning of one.")]


@app.command()
def create(
    project: Project = Path("."),
    note: Annotated[str | None, typer.Option(help="What this release is for.")] = None,
    author: Annotated[str | None, typer.Option(help="Who made it (default local-operator).")] = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Check the project in a folder and keep a snapshot of it. The same files give the same release."""
    folder = project.resolve()
    made = _ask(lambda desk: desk.create(folder, note, author), data_dir, database_url, begins=True)
    _print(made, as_json, f"{made['id']}  agent {made['agent']!r}, made {made['created_at']}{_git(made)}")


@app.command("list")
def list_(
    agent: Annotated[str | None, typer.Option(help="Only releases of this agent.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many at most.")] = 50,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """List releases, newest first; `*` marks the stable one of each agent."""
    found = _ask(lambda desk: desk.list(agent, limit), data_dir, database_url)
    lines = [_line(each) for each in found] or ["no releases yet; make one with `handrail release create`"]
    _print({"data": found, "next_cursor": None}, as_json, "\n".join(lines))


@app.command()
def show(
    release_id: ReleaseId, data_dir: DataDir = None, database_url: DatabaseUrl = None, as_json: AsJson = False
) -> None:
    """Show one release: its record and its files."""
    found = _ask(lambda desk: desk.show(release_id), data_dir, database_url)
    facts = [
        f"{name:<15}{found[name]}" for name in found if name not in ("object", "files") and found[name] is not None
    ]
    files = [f"  {each['sha256'][:12]}  {each['bytes']:>8}  {each['path']}" for each in found["files"]]
    _print(found, as_json, "\n".join([*facts, "files", *files]))


@app.command()
def diff(
    old: ReleaseId,
    new: Annotated[str | None, typer.Argument(help="Another release; the project on disk when left out.")] = None,
    project: Project = Path("."),
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Show what changed between two releases, or between a release and the project on disk."""
    folder = project.resolve()
    found = _ask(lambda desk: desk.diff(old, new, folder), data_dir, database_url)
    shown = "".join(each["unified"] for each in found["changes"]).removesuffix("\n")
    _print(found, as_json, shown or f"no difference between {found['old']} and {found['new']}")


@app.command()
def use(
    release_id: ReleaseId, data_dir: DataDir = None, database_url: DatabaseUrl = None, as_json: AsJson = False
) -> None:
    """Let a release answer all new conversations. Open ones stay with the release they began with."""
    state = _ask(lambda desk: desk.use(release_id), data_dir, database_url)
    before = state["previous_release_id"]
    back = f"; back with `handrail release use {before}`" if before else ""
    _print(state, as_json, f"{state['stable_release_id']} answers new conversations with {state['name']!r}{back}")


def _ask(
    question: "Callable[[Desk], Awaitable[T]]", data_dir: Path | None, database_url: str | None, *, begins: bool = False
) -> T:
    from handrail.cli.desk import ask
    from handrail.cli.release_desk import begin_desk, open_desk

    return ask(begin_desk if begins else open_desk, question, data_dir, database_url)


def _print(body: Any, as_json: bool, text: str) -> None:
    from handrail.core import json

    typer.echo(json.dumps(body) if as_json else text)


def _line(release: dict[str, Any]) -> str:
    mark = "*" if release["stable"] else " "
    note = f"  {release['note']}" if release["note"] else ""
    facts = "  ".join(release[name] for name in ("id", "created_at", "agent", "author"))
    return f"{mark} {facts}{_git(release)}{note}"


def _git(release: dict[str, Any]) -> str:
    commit = release["git_commit"]
    return f"  git {commit[:10]}{' with changes' if release['git_dirty'] else ''}" if commit else ""
