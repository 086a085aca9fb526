"""`handrail intents`: train a head on labelled texts, measure it, and ask it."""

import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from handrail.serving.routing import Evaluation, IntentHead

app = typer.Typer(no_args_is_help=True, help="Train, measure and ask intent classifiers.")

Data = Annotated[list[Path], typer.Argument(help='JSON Lines of {"text", "intent"}; intent "oos" is out of scope.')]
Head = Annotated[Path, typer.Argument(help="A trained head.")]
Out = Annotated[Path, typer.Option("--out", help="Where the head is written.")]
Seed = Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Equal rows and seed give equal bytes.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")]


@app.command()
def train(data: Data, out: Out, seed: Seed = 0, as_json: AsJson = False) -> None:
    """Train a head; say how good it is on examples it had not seen."""
    from dataclasses import asdict

    from handrail.core.json import dumps
    from handrail.serving.routing import train as train_head
    from handrail.serving.routing.dataset import read_examples, split

    examples, out_of_scope = split(read_examples(data))
    head, report = train_head(examples, out_of_scope, seed=seed)
    _write(out, head.dump())
    for warning in report.warnings:
        typer.echo(f"warning: {warning}", err=True)
    typer.echo(dumps(asdict(report)) if as_json else f"{out}: {report.sentence()}")


@app.command("eval")
def evaluate_head(head: Head, data: Data, as_json: AsJson = False) -> None:
    """Measure a head: accuracy by confidence band, calibration, text out of scope, time a query."""
    from threadpoolctl import threadpool_limits

    from handrail.core.json import dumps
    from handrail.serving.routing import evaluate
    from handrail.serving.routing.dataset import read_examples

    rows = read_examples(data)
    loaded = _load(head)
    # A query is two small products: waking a second thread costs more than it saves.
    with threadpool_limits(1):
        found = evaluate(loaded, rows)
    typer.echo(dumps(_flat(found)) if as_json else _table(found))


@app.command()
def predict(
    head: Head,
    data: Annotated[Path | None, typer.Argument(help='JSON Lines of {"text"}; standard input if left out.')] = None,
) -> None:
    """Answer every {"text"} line with its intent and confidence, as JSON lines."""
    from handrail.core.json import dumps

    loaded = _load(head)
    for text in _texts(data):
        found = loaded.predict(text)
        typer.echo(
            dumps(
                {
                    "intent": found.intent,
                    "confidence": found.confidence,
                    "ranked": found.ranked,
                    "out_of_scope": found.out_of_scope,
                }
            )
        )


def _texts(data: Path | None) -> Iterator[str]:
    """The texts one by one as they arrive, so that a program may ask line by line."""
    from handrail.serving.routing.dataset import DataUnreadable, parse_row

    name = str(data) if data else "standard input"
    try:
        with data.open("rb") if data else nullcontext(sys.stdin.buffer) as lines:
            for number, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                row = parse_row(f"{name}:{number}", line)
                if not isinstance(row, dict) or not isinstance(row.get("text"), str):
                    raise DataUnreadable(f'{name}:{number}: {row!r} has no text; write {{"text": "where is my order"}}')
                yield row["text"]
    except OSError as error:
        raise DataUnreadable(f"{name} can't be read ({error.strerror}); give the path of a JSON Lines file") from error


def _load(path: Path) -> "IntentHead":
    from handrail.core.errors import UsageError
    from handrail.serving.routing import HeadUnreadable, IntentHead

    try:
        return IntentHead.load(path.read_bytes())
    except OSError as error:
        raise UsageError(f"{path} can't be read ({error.strerror}); `handrail intents train` writes a head") from error
    except HeadUnreadable as error:
        raise HeadUnreadable(f"{path}: {error.message}") from error


def _write(path: Path, data: bytes) -> None:
    from handrail.core.errors import UsageError

    try:
        path.write_bytes(data)
    except OSError as error:
        raise UsageError(
            f"{path} can't be written ({error.strerror}); give --out a path in an existing folder"
        ) from error


def _flat(found: "Evaluation") -> dict[str, Any]:
    from dataclasses import asdict

    return {**asdict(found.figures), "p50_ms": found.p50_ms, "p95_ms": found.p95_ms}


def _table(found: "Evaluation") -> str:
    told = found.figures
    low, high = told.ece_interval
    lines = [
        f"rows           {told.n} in scope, {told.oos_n} out of scope",
        f"accuracy       {told.accuracy:.3f}",
        f"ECE, 15 bins   {told.ece:.3f} ({low:.3f} to {high:.3f})",
        f"above 0.9      {_band(told.coverage_above_0_9, told.accuracy_above_0_9)}",
        f"0.6 to 0.9     {_band(told.coverage_0_6_to_0_9, told.accuracy_0_6_to_0_9)}",
        f"below 0.6      {_band(told.coverage_below_0_6, told.accuracy_below_0_6)}",
        f"out of scope   {_outside(told.oos_autonomous)}",
        f"time a query   {found.p50_ms:.2f} ms p50, {found.p95_ms:.2f} ms p95",
    ]
    return "\n".join(lines)


def _band(coverage: float, accuracy: float | None) -> str:
    right = "" if accuracy is None else f", {accuracy:.1%} of them right"
    return f"{coverage:.1%} of messages{right}"


def _outside(autonomous: float | None) -> str:
    return "no such rows" if autonomous is None else f"{autonomous:.1%} would run unasked"
