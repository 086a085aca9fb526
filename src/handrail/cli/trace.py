"""`handrail trace`: how a turn went, as bars on a terminal."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(no_args_is_help=True)

DataDir = Annotated[Path | None, typer.Option("--data-dir", help="Where data lives (default .handrail).")]
DatabaseUrl = Annotated[str | None, typer.Option(help="postgresql://... instead of SQLite in the data folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_BAR, _TITLE = 40, 44


@app.callback()
def main() -> None:
    """Traces of turns."""


@app.command()
def show(
    turn_id: Annotated[str, typer.Argument(help="A turn (turn_...) or a trace id (32 hex digits).")],
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Show what happened in a turn, span by span, and how long each took."""
    from handrail.cli.trace_source import read
    from handrail.core import json

    found = read(turn_id, data_dir, database_url)
    if as_json:
        typer.echo(json.dumps({"data": found}))
        return
    for each in found:
        for line in lines_of(each):
            typer.echo(line)


def lines_of(trace: dict[str, Any]) -> Iterator[str]:
    """One trace as text."""
    cost = trace["cost_micros"]
    yield f"turn {trace['turn_id']}  trace {trace['trace_id']}  {trace['started_at']}"
    yield (
        f"  {trace['agent']} {trace['release_id']}  intent {trace['intent'] or '-'}  {trace['status']}"
        f"{' (' + trace['error_code'] + ')' if trace['error_code'] else ''}"
        f"  {_millis(trace['duration_micros'])}, own {_millis(trace['overhead_micros'])}"
        f"  cost {'not known' if cost is None else f'{cost / 1e6:.6f} USD'}"
    )
    if trace["link"]:
        yield f"  goes on from trace {trace['link']['trace_id']}"
    whole = max(1, trace["duration_micros"])
    for span in trace["spans"]:
        title = f"{'  ' * span['depth']}{span['title']}"
        length = span["duration_micros"]
        taken = "" if length is None else _millis(length)
        failed = f"  {span['error']}" if span["error"] else ""
        yield f"  {title[:_TITLE]:<{_TITLE}} |{_bar(span['started_micros'], length, whole)}| {taken:>10}{failed}"


def _bar(started: int, length: int | None, whole: int) -> str:
    left = min(_BAR - 1, started * _BAR // whole)
    width = 1 if length is None else max(1, min(_BAR - left, round(length * _BAR / whole)))
    return f"{' ' * left}{('.' if length is None else '#') * width}".ljust(_BAR)


def _millis(micros: int) -> str:
    return f"{micros / 1000:.1f} ms" if micros < 10_000_000 else f"{micros / 1e6:.1f} s"
