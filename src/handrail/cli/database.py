"""`handrail db`: copy, check, migrate and restore the database."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from handrail.protection.audit import Outcome
    from handrail.settings import Settings

app = typer.Typer(no_args_is_help=True)

DataDir = Annotated[Path | None, typer.Option("--data-dir", help="Where data lives (default .handrail).")]
DatabaseUrl = Annotated[str | None, typer.Option(help="postgresql://... instead of SQLite in the data folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Backup = Annotated[Path, typer.Argument(help="An SQLite file, whichever database it is from.")]


@app.command()
def backup(file: Backup, data_dir: DataDir = None, database_url: DatabaseUrl = None) -> None:
    """Copy the database to a new file, as of now; a server may run meanwhile."""
    from handrail.cli.local_server import require_data
    from handrail.db.backup import back_up_sqlite

    settings = _settings(data_dir, database_url)
    if settings.database_url is None:
        require_data(settings)
        back_up_sqlite(settings.sqlite_file, file)
    else:
        from handrail.db.postgres_copy import back_up_postgres

        asyncio.run(back_up_postgres(settings.database_url, file))
    _audited(settings, "database.backed_up", "done", file)
    typer.echo(f"{file}: {file.stat().st_size} bytes; `handrail db check --file {file}` looks at it again")


@app.command()
def restore(file: Backup, data_dir: DataDir = None, database_url: DatabaseUrl = None) -> None:
    """Put a backup in the place of the database; no server may run. The old one is kept aside."""
    settings = _settings(data_dir, database_url)
    if settings.database_url is None:
        old: object = _restore_sqlite(settings, file)
    else:
        from handrail.db.postgres_copy import restore_postgres

        old = asyncio.run(restore_postgres(settings.database_url, file))
    _audited(settings, "database.restored", "done", file)
    typer.echo(f"restored from {file}; the next start brings it to this version's schema")
    if old is not None:
        typer.echo(f"what was there before is kept as {old}; remove it when you need it no more")


@app.command()
def check(
    file: Annotated[Path | None, typer.Option("--file", help="Look at this backup instead of the database.")] = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Look for damage: the file, the schema, and what must hold between rows. Exit code 1 when something is wrong."""
    from handrail.cli.local_server import require_data

    settings = _settings(data_dir, database_url)
    if file is None and settings.database_url is None:
        require_data(settings)
    results = asyncio.run(_checked(settings, file))
    _audited(settings, "database.checked", "done" if all(each["ok"] for each in results) else "failed", file)
    if as_json:
        from handrail.core import json

        typer.echo(json.dumps({"ok": all(each["ok"] for each in results), "checks": results}))
    else:
        typer.echo("\n".join(_line(each) for each in results))
    if not all(each["ok"] for each in results):
        raise typer.Exit(1)


@app.command()
def migrate(data_dir: DataDir = None, database_url: DatabaseUrl = None) -> None:
    """Bring the schema to this version, as the start of a server does too."""
    asyncio.run(_migrate(_settings(data_dir, database_url)))
    typer.echo("the schema is that of this version")


def _settings(data_dir: Path | None, database_url: str | None) -> "Settings":
    from handrail.settings import read_settings

    return read_settings(data_dir=data_dir, database_url=database_url)


def _audited(settings: "Settings", action: str, outcome: "Outcome", file: Path | None) -> None:
    """For the audit log, which the server over the data folder keeps; without such a folder nobody does."""
    from handrail.core.clock import SystemClock
    from handrail.protection.audit import Spool

    if not settings.data_dir.is_dir():
        typer.echo(f"not in the audit log: there is no data folder {str(settings.data_dir)!r}", err=True)
        return
    target = "database:sqlite" if settings.database_url is None else "database:postgresql"
    details = [("file", file.name)] if file is not None else []
    Spool(settings.data_dir).add(action, outcome, target, at=SystemClock().micros(), details=details)


def _restore_sqlite(settings: "Settings", file: Path) -> Path | None:
    """Under the owner's lock: a server that runs is refused, and none can start meanwhile."""
    from handrail.db.backup import restore_sqlite
    from handrail.db.owner import OwnerLock

    lock = OwnerLock(settings.data_dir)
    lock.acquire()
    try:
        return restore_sqlite(file, settings.sqlite_file)
    finally:
        lock.release()


async def _migrate(settings: "Settings") -> None:
    from handrail.cli.local_server import held_by
    from handrail.core.errors import UsageError
    from handrail.db.migrate import migrate as bring_up

    async with held_by(settings) as server:
        if server is not None:
            raise UsageError("a server runs over this data folder and has migrated it already; stop it first")
        await bring_up(settings.url)


async def _checked(settings: "Settings", file: Path | None) -> list[dict[str, Any]]:
    """Each check as `{"name", "says", "ok", "found"}`; nothing is changed, and a schema that differs ends it early."""
    from handrail.core.clock import SystemClock
    from handrail.db.postgres import PostgresDatabase
    from handrail.db.sqlite import SqliteDatabase
    from handrail.reports.invariants import findings

    postgres = settings.database_url if file is None else None
    path = file or settings.sqlite_file
    results = [] if postgres else [_file_check(path)]
    results.append(await _schema_check(postgres, path))
    if not all(each["ok"] for each in results):
        return results
    clock = SystemClock()
    db = await PostgresDatabase.connect(postgres, clock) if postgres else SqliteDatabase(path, clock)
    try:
        for each in await findings(db):
            found = f"{each.rows} rows break it, such as {', '.join(each.examples)}" if each.rows else ""
            results.append({"name": each.name, "says": each.says, "ok": each.holds, "found": found})
    finally:
        await db.close()
    return results


def _file_check(path: Path) -> dict[str, Any]:
    from handrail.core.errors import UsageError
    from handrail.db.backup import file_problems

    if not path.is_file():
        raise UsageError(f"there is no database {str(path)!r}")
    with closing(sqlite3.connect(path, timeout=30)) as connection:
        problems = file_problems(connection)
    says = "the file is whole, and no row refers to one that is not there"
    return {"name": "file", "says": says, "ok": not problems, "found": "; ".join(problems)}


async def _schema_check(postgres: str | None, path: Path) -> dict[str, Any]:
    from handrail.db.revisions import known_revisions, revision_of

    if postgres:
        from handrail.db.postgres_copy import postgres_revision

        revision = await postgres_revision(postgres)
    else:
        revision = revision_of(path)
    known = known_revisions()
    found = ""
    if revision != known[-1]:
        what = "an older version" if revision in known else "a newer version, or not by Handrail"
        do = "`handrail db migrate` brings it up" if revision in known else "use the version that wrote it"
        found = f"it is at revision {revision!r}, written by {what}, and this version's is {known[-1]!r}: {do}"
    return {"name": "schema", "says": "the schema is that of this version", "ok": not found, "found": found}


def _line(result: dict[str, Any]) -> str:
    return f"ok      {result['says']}" if result["ok"] else f"FAILED  {result['says']}: {result['found']}"
