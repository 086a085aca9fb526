"""`handrail audit`: search the log, take it away, and prove that nothing was changed."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from handrail.protection.audit import Verification

app = typer.Typer(no_args_is_help=True)

DataDir = Annotated[Path | None, typer.Option("--data-dir", help="Where data lives (default .handrail).")]
DatabaseUrl = Annotated[str | None, typer.Option(help="postgresql://... instead of SQLite in the data folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def search(
    action: Annotated[str, typer.Option(help="Such as approval.voted or access.denied.")] = "",
    actor: Annotated[str, typer.Option(help="Who did it: a subject's name, or 'system'.")] = "",
    target: Annotated[str, typer.Option(help="What it was done to, such as release:rel_...")] = "",
    outcome: Annotated[str, typer.Option(help="done, denied, failed or unknown.")] = "",
    since: Annotated[str | None, typer.Option(help="From this time on, such as 2026-11-27T08:00:00Z.")] = None,
    until: Annotated[str | None, typer.Option(help="Before this time.")] = None,
    tenant: Annotated[str | None, typer.Option(help="Another tenant, or 'unknown' for callers without a key.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many records.")] = 50,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Show records, newest first."""
    from handrail.cli.audit_source import search as ask

    named = {"action": action, "actor": actor, "target": target, "outcome": outcome}
    given = {name: value for name, value in named.items() if value}
    given |= {name: value for name, value in (("since", since), ("until", until), ("tenant", tenant)) if value}
    found = ask(given, limit, data_dir, database_url)
    if as_json:
        _print_json(found)
        return
    for record in found["data"]:
        typer.echo(_line(record))
    if not found["data"]:
        typer.echo("no record matches", err=True)


@app.command()
def export(
    file: Annotated[Path, typer.Argument(help="Where to write it; it must not exist.")],
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Write the whole log with its checkpoints to a file, to be kept and checked elsewhere."""
    from handrail.cli.audit_source import export as write

    lines = write(file, data_dir, database_url)
    typer.echo(f"{lines} lines are in {str(file)!r}; check them anywhere with `handrail audit verify {file}`")


@app.command()
def checkpoint(data_dir: DataDir = None, database_url: DatabaseUrl = None) -> None:
    """Print the newest signed checkpoint; keep it where nobody who holds the database can reach it."""
    from handrail.cli.audit_source import checkpoint as newest

    found = newest(data_dir, database_url)
    if found is None:
        typer.echo("nothing is sealed yet; records are sealed within a second of being stored", err=True)
        raise typer.Exit(1)
    _print_json(found)


@app.command()
def verify(
    file: Annotated[Path | None, typer.Argument(help="An export; the log of this data folder when left out.")] = None,
    checkpoints: Annotated[Path | None, typer.Option(help="Checkpoints that were kept elsewhere, one a line.")] = None,
    public_key: Annotated[
        list[str] | None, typer.Option(help="Believe only this key (base64); may be given several times.")
    ] = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Check every record and checkpoint; status 1 when something was changed or taken away."""
    from handrail.cli.audit_source import verify as check

    found = check(file, checkpoints, public_key, data_dir, database_url)
    if as_json:
        _print_json(_body(found))
    else:
        typer.echo("\n".join(_report(found, given=checkpoints is not None)))
    if not found.is_intact:
        raise typer.Exit(1)


def _line(record: dict[str, Any]) -> str:
    who = record.get("actor_name", record["actor"])
    details = record.get("details") or {}
    said = "".join(f"  {name}={value}" for name, value in details.items() if name != "fingerprint")
    return f"{record['at']}  {record['outcome']:7}  {record['action']:20}  {record['target']}  by {who}{said}"


def _report(found: "Verification", *, given: bool) -> list[str]:
    from handrail.core.clock import iso

    lines = [f"{each.where}: {each.what}" for each in found.findings]
    state = "intact" if found.is_intact else "NOT intact"
    lines.append(f"{found.records} records under {found.checkpoints} checkpoints: {state}")
    if found.unsealed:
        lines.append(f"{found.unsealed} records are not sealed yet (they are within a second of being stored)")
    if given and found.proven_until is None:
        lines.append("no checkpoint that was given proves any of these records")
    elif found.proven_until is None:
        lines.append(
            "no checkpoint from elsewhere was given: somebody who holds the database and the signing key could have "
            "rewritten all of it; keep the output of `handrail audit checkpoint` elsewhere and pass it as --checkpoints"
        )
    else:
        lines.append(
            f"the first {found.proven} records are proven by a checkpoint of {iso(found.proven_until)} kept elsewhere; "
            "a loss after it can't be proved"
        )
    return lines


def _body(found: "Verification") -> dict[str, Any]:
    from handrail.core.clock import iso

    return {
        "intact": found.is_intact,
        "records": found.records,
        "checkpoints": found.checkpoints,
        "unsealed": found.unsealed,
        "proven_records": found.proven,
        "proven_until": None if found.proven_until is None else iso(found.proven_until),
        "findings": [{"where": each.where, "what": each.what} for each in found.findings],
    }


def _print_json(body: Any) -> None:
    from handrail.core import json

    typer.echo(json.dumps(body))
