"""`handrail scorecard`: the success measures, and the baselines they are compared with."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from handrail.cli.scorecard_desk import Desk

T = TypeVar("T")
Body = dict[str, Any]
app = typer.Typer(no_args_is_help=True)

Agent = Annotated[str | None, typer.Option(help="Which agent (default: the first).")]
Since = Annotated[str | None, typer.Option(help="Conversations from this time on, such as 2026-11-20 (UTC).")]
Until = Annotated[str | None, typer.Option(help="And before this time (default now).")]
DataDir = Annotated[Path | None, typer.Option("--data-dir", help="Where data lives (default .handrail).")]
DatabaseUrl = Annotated[str | None, typer.Option(help="postgresql://... instead of SQLite in the data folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def show(
    agent: Agent = None,
    since: Since = None,
    until: Until = None,
    release: Annotated[str | None, typer.Option(help="Of this release only.")] = None,
    intent: Annotated[str | None, typer.Option(help="Of this intent only.")] = None,
    channel: Annotated[str | None, typer.Option(help="Of this channel only.")] = None,
    baseline: Annotated[int | None, typer.Option(min=1, help="Against this baseline (default: the newest).")] = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Show the success measures of the last seven days, or of another time, against baseline and targets."""
    given = {
        "agent": agent, "since": since, "until": until, "release_id": release, "intent": intent, "channel": channel,
        "baseline": baseline,
    }  # fmt: skip
    wanted = {key: each for key, each in given.items() if each is not None}
    report = _ask(lambda desk: desk.report(wanted), data_dir, database_url)
    _print(report, as_json, lines_of(report))


@app.command()
def baseline(
    from_file: Annotated[
        Path | None,
        typer.Option(
            "--from", help="YAML of what was before: for each measure its `value` and `n`, perhaps `deviation`."
        ),
    ] = None,
    agent: Agent = None,
    since: Since = None,
    until: Until = None,
    note: Annotated[str | None, typer.Option(help="What was measured, and how.")] = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Keep a baseline under the next number: what was measured in a time, or what the numbers were before the agent."""
    body: Body = {"agent": agent, "since": since, "until": until, "note": note}
    if from_file is not None:
        body["measures"] = _measures(from_file)
    wanted = {key: each for key, each in body.items() if each is not None}
    made = _ask(lambda desk: desk.record(wanted), data_dir, database_url)
    _print(made, as_json, [f"baseline {made['version']} of {made['agent']!r}: {len(made['measures'])} measures kept"])


@app.command()
def baselines(
    agent: Agent = None, data_dir: DataDir = None, database_url: DatabaseUrl = None, as_json: AsJson = False
) -> None:
    """List the baselines of an agent, newest first."""
    found = _ask(lambda desk: desk.baselines(agent), data_dir, database_url)
    lines = [
        f"{each['version']:>3}  {each['created_at']}  {each['source']:<9} by {each['created_by']}"
        + (f"  {each['note']}" if each["note"] else "")
        for each in found
    ] or ["no baseline yet; keep one with `handrail scorecard baseline` before you deploy"]
    _print({"data": found, "next_cursor": None}, as_json, lines)


def lines_of(report: Body) -> list[str]:
    """The report as text: what, how much with its interval, from how many, and how it compares."""
    from handrail.insight.scorecard.wording import errors, objectives

    counted, against = report["conversations"], report["baseline"]
    rows = [_row(each, report["currency"]) for each in report["measures"]]
    widths = [max(len(row[place]) for row in rows) for place in range(3)]
    table = [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]]).rstrip()
        for row in rows
    ]
    unpriced = report["unpriced_calls"]
    return [
        f"{report['agent']}, {report['since'][:16]} to {report['until'][:16]} UTC: {counted['closed']} closed "
        f"conversations of {counted['users']} users; {counted['pending']} pending",
        f"against baseline {against['version']} ({against['source']}, {against['created_at'][:10]})"
        if against
        else "no baseline yet; keep one with `handrail scorecard baseline` before you deploy",
        "",
        *table,
        "",
        f"Service level objectives of {report['agent']}, {report['objectives']['window_days']} days:",
        *(f"  {line}" for line in objectives(report["objectives"])),
        *(["Errors, of all turns:", *(f"  {line}" for line in errors(report["errors"]))] if report["errors"] else ()),
        "",
        *([f"{unpriced} model calls have no known price: costs are at least what is said."] if unpriced else ()),
        *(f"{each[:1].upper()}{each[1:]}." for each in report["not_comparable"]),
        report["note"],
    ]


def _row(line: Body, currency: str) -> tuple[str, str, str, str]:
    from handrail.insight.scorecard.wording import change, number, said

    users = "" if line["users"] is None else f", {line['users']} users"
    sample = f"n={line['n']}{users}" if line["value"] is not None else ""
    compared = [
        f"{what}: {text}"
        for what, text in (
            ("time before", change(line, line["change"], currency)),
            ("baseline", change(line, line["change_from_baseline"], currency)),
        )
        if text
    ]
    target = line["target"]
    if target is not None:
        compared.append(f"target {number(target, line['kind'], currency)}: {line['verdict'].replace('_', ' ')}")
    return line["title"], said(line, line["kind"], currency), sample, "; ".join(compared)


def _measures(path: Path) -> Body:
    import yaml

    from handrail.core.errors import UsageError

    try:
        read = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeError, yaml.YAMLError) as error:
        raise UsageError(f"{path} can't be read as YAML: {error}") from None
    if not isinstance(read, dict) or not all(isinstance(each, dict) for each in read.values()):
        raise UsageError(f"{path} must hold measures by name, such as `csat: {{value: 4.1, n: 200, deviation: 0.9}}`")
    return read


def _ask(question: "Callable[[Desk], Awaitable[T]]", data_dir: Path | None, database_url: str | None) -> T:
    from handrail.cli.desk import ask
    from handrail.cli.scorecard_desk import open_desk

    return ask(open_desk, question, data_dir, database_url)


def _print(body: Any, as_json: bool, lines: list[str]) -> None:
    from handrail.core import json

    typer.echo(json.dumps(body) if as_json else "\n".join(lines))
