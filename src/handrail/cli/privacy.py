"""`handrail privacy`: find personal data in texts, and measure how well it is found."""

import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

if TYPE_CHECKING:
    from handrail.protection.privacy import Span
    from handrail.protection.privacy.evaluation import Evaluation, Row
    from handrail.settings import Settings

app = typer.Typer(no_args_is_help=True, help="Find personal data, and look after what is kept of people.")

DataDir = Annotated[Path | None, typer.Option("--data-dir", help="Where data lives (default .handrail).")]
DatabaseUrl = Annotated[str | None, typer.Option("--database-url", help="postgresql://... instead of SQLite.")]
Subject = Annotated[str, typer.Argument(help="The user, as they stand in their key or token.")]
Tenant = Annotated[str | None, typer.Option(help="Theirs (default: default).")]
Presidio = Annotated[bool, typer.Option("--presidio", help="Ask Presidio too; an extra that is installed apart.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")]


@app.command()
def scan(
    data: Annotated[
        Path | None, typer.Argument(help='JSON Lines of {"id", "text", "previous"?}; standard input if left out.')
    ] = None,
    presidio: Presidio = False,
) -> None:
    """Answer every line with {"id", "spans": [[start, end, type, score]]}."""
    from handrail.core.json import dumps

    find = _detector(presidio)
    for row in _rows(data):
        spans = [list(span) for span in find(row.text, row.previous)]
        sys.stdout.write(dumps({"id": row.row_id, "spans": spans}) + "\n")
        sys.stdout.flush()


@app.command("eval")
def evaluate_detector(
    data: Annotated[Path, typer.Argument(help='JSON Lines of {"text", "spans": [[start, end, type]], "previous"?}.')],
    as_json: AsJson = False,
    presidio: Presidio = False,
) -> None:
    """Measure recall, precision, clean rows flagged and time a row, with 95 % intervals."""
    from handrail.core.json import dumps
    from handrail.protection.privacy.evaluation import evaluate

    rows, find = list(_rows(data)), _detector(presidio)
    find("warm up: ann lee, 12 high street", None)
    found = evaluate(find, rows)
    typer.echo(dumps(found.figures()) if as_json else _table(found))


def _detector(presidio: bool) -> "Callable[[str, str | None], list[Span]]":
    from handrail.protection.privacy import find_personal_data

    if not presidio:
        return find_personal_data
    from handrail.protection.privacy.presidio import with_presidio

    return with_presidio()


@app.command()
def encrypt(data_dir: DataDir = None, database_url: DatabaseUrl = None) -> None:
    """Seal what lies readable in the database, or under a retired key; a server may run meanwhile."""
    report = _run("encryption", data_dir, database_url)
    destroyed = report.pop("keys_destroyed", 0)
    typer.echo(f"{sum(report.values())} rows sealed, {destroyed} retired keys destroyed; the files are rewritten")


@app.command()
def rotate(
    data_keys: Annotated[
        bool, typer.Option("--data-keys", help="Also give every user a new key, and seal everything with it.")
    ] = False,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Put all data keys under the current master key; then the older master keys may be taken away."""
    typer.echo(
        f"{_run('master_key', data_dir, database_url).get('rewrapped', 0)} data keys are under the current master key"
    )
    if data_keys:
        typer.echo(f"{_run('data_keys', data_dir, database_url).get('renewed', 0)} users have a new key")
        encrypt(data_dir, database_url)


@app.command("erase")
def erase_subject(
    subject: Subject,
    tenant: Tenant = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Erase a user: destroy their key, delete all that was said by and to them, and keep on record that it was done."""
    import asyncio

    from handrail.cli.privacy_desk import erase_subject
    from handrail.core.json import dumps

    done = asyncio.run(erase_subject(_settings(data_dir, database_url), subject, tenant))
    key = "their key is destroyed" if done["key_destroyed"] else "there was no key: nothing is encrypted"
    lines = [f"erased: {done['conversations']} conversations of {subject!r}; {key}", "What can't be promised:"]
    typer.echo(dumps(done) if as_json else "\n".join([*lines, *(f"- {each}" for each in done["remains"])]))


@app.command("export")
def export_subject(
    subject: Subject,
    tenant: Tenant = None,
    out: Annotated[Path | None, typer.Option("--out", help="A new file, for you alone, instead of the screen.")] = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Write all that is stored of a user as JSON lines: a conversation a line, with what was said and done in it."""
    import asyncio
    import os

    from handrail.cli.privacy_desk import export_subject

    lines = asyncio.run(export_subject(_settings(data_dir, database_url), subject, tenant))
    text = "".join(f"{line}\n" for line in lines)
    if out is None:
        typer.echo(text, nl=False)
        return
    with open(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    # The first line tells of the user, each other one of a conversation.
    typer.echo(f"{out}: {len(lines) - 1} conversations of {subject!r}")


@app.command("log-export")
def export_log(
    out: Annotated[Path | None, typer.Option("--out", help="A new file, for you alone, instead of the screen.")] = None,
    agent: Annotated[str | None, typer.Option(help="Conversations of this agent only.")] = None,
    release: Annotated[str | None, typer.Option(help="Of this release only.")] = None,
    since: Annotated[str | None, typer.Option(help="Begun from then on, as 2026-11-01.")] = None,
    until: Annotated[str | None, typer.Option(help="Begun before.")] = None,
    k: Annotated[int, typer.Option("--least-users", help="What fewer users share is not told.")] = 5,
    keep_words: Annotated[
        bool, typer.Option("--keep-words", help="Keep rare words in messages: names that were missed stay too.")
    ] = False,
    tenant: Tenant = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Write the conversations without their people, as JSON lines: no personal data, numbers, rare words, ids."""
    import asyncio

    from handrail.cli.privacy_desk import save_log

    given = {"agent": agent, "release": release, "since": since, "until": until, "tenant": tenant, "k": str(k)}
    asked = {name: value for name, value in given.items() if value} | ({"words": "keep"} if keep_words else {})
    with _new_file(out) as file:
        asyncio.run(save_log(_settings(data_dir, database_url), asked, file))
    if out is not None:
        typer.echo(
            f"{out}: {out.stat().st_size} bytes; people who know somebody may still recognise them, see the docs"
        )


@contextmanager
def _new_file(out: Path | None) -> "Generator[BinaryIO]":
    """A file that only its owner can read, gone again if it can't be finished; or the screen."""
    import os

    if out is None:
        yield sys.stdout.buffer
        return
    try:
        with os.fdopen(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            yield file
    except FileExistsError:
        raise
    except BaseException:
        out.unlink(missing_ok=True)
        raise


def _settings(data_dir: Path | None, database_url: str | None) -> "Settings":
    from handrail.settings import read_settings

    return read_settings(data_dir=data_dir, database_url=database_url)


def _run(job: str, data_dir: Path | None, database_url: str | None) -> dict[str, int]:
    import asyncio

    from handrail.cli.privacy_desk import run_job

    return asyncio.run(run_job(_settings(data_dir, database_url), job))


def _rows(data: Path | None) -> "Iterator[Row]":
    from handrail.cli.json_lines import read_rows
    from handrail.protection.privacy.evaluation import parse_row

    return read_rows(data, parse_row)


def _table(found: "Evaluation") -> str:
    lines = [
        f"recall         {found.recall}",
        f"precision      {found.precision}",
        f"clean flagged  {found.clean_flagged}",
        f"time a row     {found.p50_ms:.2f} ms p50, {found.p95_ms:.2f} ms p95",
    ]
    lines += [f"{kind:<14} recall {recall}; precision {precision}" for kind, (recall, precision) in found.kinds.items()]
    return "\n".join(lines)
