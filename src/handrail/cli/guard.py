"""`handrail guard`: scan texts for prompt injection, set a deployment's threshold, and measure."""

import sys
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from handrail.protection.guardrails import Detector
    from handrail.protection.guardrails.evaluation import Evaluation, Rates, Row
    from handrail.protection.guardrails.head import Channel

app = typer.Typer(no_args_is_help=True, help="Scan texts for prompt injection, set the threshold, and measure.")


class ChannelName(StrEnum):
    """Where a text comes from."""

    USER = "user"
    TOOL = "tool"


ChannelOption = Annotated[ChannelName, typer.Option("--channel", help="Typed by a user, or a tool's result.")]
DataDir = Annotated[Path | None, typer.Option("--data-dir", help="Where the deployment's thresholds live.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")]


@app.command()
def scan(
    data: Annotated[
        Path | None, typer.Argument(help='JSON Lines of {"id", "text"}; standard input if left out.')
    ] = None,
    channel: ChannelOption = ChannelName.USER,
    data_dir: DataDir = None,
) -> None:
    """Answer every line with {"id", "flagged", "score", "reasons"}."""
    from handrail.core.json import dumps

    detector, where = _detector(data_dir), _channel(channel)
    for row in _rows(data, where):
        found = detector.scan(row.text, where)
        answer = {"id": row.row_id, "flagged": found.flagged, "score": round(found.score, 6), "reasons": found.reasons}
        sys.stdout.write(dumps(answer) + "\n")
        sys.stdout.flush()


@app.command("eval")
def evaluate_detector(
    data: Annotated[Path, typer.Argument(help='JSON Lines of {"text", "label", "channel"?, "source"?}.')],
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Measure recall, false alarms and time a row beside a filter of six phrases, with 95 % intervals."""
    from handrail.core.json import dumps
    from handrail.protection.guardrails.evaluation import evaluate

    detector = _detector(data_dir)
    rows = list(_rows(data, None))
    found = evaluate(lambda row: detector.scan(row.text, row.channel).flagged, rows, dict(detector.thresholds))
    typer.echo(dumps(found.figures()) if as_json else _table(found))


@app.command()
def calibrate(
    data: Annotated[Path, typer.Argument(help='Harmless texts of this deployment: JSON Lines of {"text"}.')],
    channel: ChannelOption = ChannelName.USER,
    data_dir: DataDir = None,
) -> None:
    """Set this deployment's threshold where 99 of 100 of its harmless texts, and of the look-alikes that ship, pass."""
    from handrail.protection.guardrails.calibration import calibrate as set_threshold
    from handrail.protection.guardrails.calibration import write_threshold
    from handrail.settings import read_settings

    where = _channel(channel)
    texts = [row.text for row in _rows(data, where) if not row.label]
    found = set_threshold(_detector(data_dir), texts, where)
    path = write_threshold(read_settings(data_dir=data_dir).data_dir, where, found.threshold)
    typer.echo(
        f"{path}: {found.channel} {found.threshold:.4f} (was {found.before:.4f}), set on {found.texts} texts "
        f"and {found.lookalikes} look-alikes; a running server reads it when it starts again"
    )


def _detector(data_dir: Path | None) -> "Detector":
    from handrail.protection.guardrails import Detector, read_thresholds
    from handrail.settings import read_settings

    return Detector(thresholds=read_thresholds(read_settings(data_dir=data_dir).data_dir))


def _channel(channel: ChannelName) -> "Channel":
    return "user" if channel is ChannelName.USER else "tool"


def _rows(data: Path | None, channel: "Channel | None") -> "Iterator[Row]":
    from handrail.cli.json_lines import read_rows
    from handrail.protection.guardrails.evaluation import parse_row

    return read_rows(data, lambda where, value: parse_row(where, value, channel))


def _table(found: "Evaluation") -> str:
    lines: list[str] = []
    for channel, rates in found.detector.items():
        lines += _of_channel(f"{channel}, threshold {found.thresholds[channel]:.4f}", rates)
        lines += _of_channel(f"{channel}, six phrases", found.naive[channel])
    return "\n".join([*lines, f"time a row  {found.p50_ms:.2f} ms p50, {found.p95_ms:.2f} ms p95"])


def _of_channel(title: str, rates: "Rates") -> list[str]:
    return [title, f"  recall        {rates.recall}", f"  false alarms  {rates.false_alarms}"]
