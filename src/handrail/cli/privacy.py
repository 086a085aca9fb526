"""`handrail privacy`: find personal data in texts, and measure how well it is found."""

import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from handrail.protection.privacy.evaluation import Evaluation, Row, Share

app = typer.Typer(no_args_is_help=True, help="Find personal data, and measure how well it is found.")

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")]
RulesOnly = Annotated[bool, typer.Option("--rules-only", help="Leave the tagger out: no names, no streets.")]


@app.command()
def scan(
    data: Annotated[
        Path | None, typer.Argument(help='JSON Lines of {"id", "text", "previous"?}; standard input if left out.')
    ] = None,
    rules_only: RulesOnly = False,
) -> None:
    """Answer every line with {"id", "spans": [[start, end, type, score]]}."""
    from handrail.core.json import dumps
    from handrail.protection.privacy import Detector, find_structured

    find = find_structured if rules_only else Detector().find
    for row in _rows(data):
        sys.stdout.write(
            dumps({"id": row.row_id, "spans": [list(span) for span in find(row.text, row.previous)]}) + "\n"
        )
        sys.stdout.flush()


@app.command("eval")
def evaluate_detector(
    data: Annotated[Path, typer.Argument(help='JSON Lines of {"text", "spans": [[start, end, type]], "previous"?}.')],
    as_json: AsJson = False,
    rules_only: RulesOnly = False,
) -> None:
    """Measure recall, precision, clean rows flagged and time a row, with 95 % intervals."""
    from handrail.core.json import dumps
    from handrail.protection.privacy import Detector, find_structured
    from handrail.protection.privacy.evaluation import evaluate

    find = find_structured if rules_only else Detector().find
    rows = list(_rows(data))
    find("warm up: ann lee, 12 high street", None)
    found = evaluate(find, rows)
    typer.echo(dumps(found.figures()) if as_json else _table(found))


def _rows(data: Path | None) -> "Iterator[Row]":
    """The rows one by one as they arrive, so that a program may ask line by line."""
    from handrail.core.errors import UsageError
    from handrail.core.json import loads
    from handrail.protection.privacy.evaluation import RowUnreadable, parse_row

    name = str(data) if data else "standard input"
    try:
        with data.open("rb") if data else nullcontext(sys.stdin.buffer) as lines:
            for number, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                try:
                    value = loads(line)
                except ValueError as error:
                    raise RowUnreadable(f"{name}:{number}: not JSON ({error}); write one object a line") from error
                yield parse_row(f"{name}:{number}", value)
    except OSError as error:
        raise UsageError(f"{name} can't be read ({error.strerror}); give the path of a JSON Lines file") from error


def _table(found: "Evaluation") -> str:
    lines = [
        f"recall         {_said(found.recall)}",
        f"precision      {_said(found.precision)}",
        f"clean flagged  {_said(found.clean_flagged)}",
        f"time a row     {found.p50_ms:.2f} ms p50, {found.p95_ms:.2f} ms p95",
    ]
    lines += [
        f"{kind:<14} recall {_said(recall)}; precision {_said(precision)}"
        for kind, (recall, precision) in found.kinds.items()
    ]
    return "\n".join(lines)


def _said(share: "Share") -> str:
    interval = share.interval()
    if interval is None:
        return "no such rows"
    return f"{share.count / share.n:.3f} ({interval[0]:.3f} to {interval[1]:.3f}; {share.count} of {share.n})"
