"""`handrail drill`: fail every part in every way, and see whether what was declared happens."""

import asyncio
import io
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from handrail.testing.drill import CellResult, Report

Component = Annotated[
    list[str] | None, typer.Option("--component", help="Only this component; repeatable (default: all).")
]
FaultName = Annotated[list[str] | None, typer.Option("--fault", help="Only this fault; repeatable (default: all).")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the whole report as JSON.")]
DatabaseUrl = Annotated[
    str | None, typer.Option(help="An empty PostgreSQL database on 127.0.0.1, for the cells of that component.")
]


ValkeyUrl = Annotated[str | None, typer.Option(help="A Valkey on 127.0.0.1, for the cells of that component.")]


def drill(
    component: Component = None,
    fault: FaultName = None,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    valkey_url: ValkeyUrl = None,
) -> None:
    """Put a small shop behind proxies that fail as networks do, and check every outcome against the fault matrix.

    It needs no key and no network, keeps its data in a folder of its own and removes it. Exits 1 on a deviation.
    """
    from handrail.core import json
    from handrail.core.errors import UsageError
    from handrail.protection.privacy import redact_event
    from handrail.telemetry.logging import configure
    from handrail.testing.drill import COMPONENTS, FAULTS
    from handrail.testing.drill import drill as run

    for given, known, what in ((component, COMPONENTS, "component"), (fault, FAULTS, "fault")):
        if wrong := sorted(set(given or ()) - known.keys()):
            raise UsageError(f"{what} {wrong[0]!r} is not known; the {what}s are: {', '.join(known)}")
    # What fails here is meant to; the report says how it ended.
    configure(redact_event, level="error", stream=io.StringIO())
    report = asyncio.run(run(component, faults=fault, database_url=database_url, valkey_url=valkey_url))
    typer.echo(json.dumps(report.as_record()) if as_json else page(report))
    if report.deviations:
        raise typer.Exit(1)


def page(report: "Report") -> str:
    """The matrix for people: faults down, components across, and below it what is not as declared."""
    components = list(dict.fromkeys(each.cell.component for each in report.cells))
    faults = list(dict.fromkeys(each.cell.fault for each in report.cells))
    shown = {(each.cell.fault, each.cell.component): _shown(each) for each in report.cells}
    widths = [max(len(word) for word in part.split("_")) for part in components]
    widths = [max(width, 9) for width in widths]
    lines = [
        " " * 15
        + "  ".join(each.partition("_")[0].ljust(width) for each, width in zip(components, widths, strict=True)),
        " " * 15
        + "  ".join(each.partition("_")[2].ljust(width) for each, width in zip(components, widths, strict=True)),
    ]
    for fault in faults:
        cells = (shown[fault, each].ljust(width) for each, width in zip(components, widths, strict=True))
        lines.append((fault.ljust(15) + "  ".join(cells)).rstrip())
    lines += ["", "- does not apply   . not run   ! not as declared"]
    lines += [_deviation(each) for each in report.deviations]
    run = sum(each.observed is not None for each in report.cells)
    lines.append(f"{run} cells in {report.seconds:.0f} s, {len(report.deviations)} not as declared")
    return "\n".join(lines)


def _shown(result: "CellResult") -> str:
    if result.deviates:
        return f"!{result.observed or 'no end'}"
    if result.cell.expected is None:
        return "-"
    return result.observed or "."


def _deviation(result: "CellResult") -> str:
    why = "".join(f"; {problem}" for problem in result.problems)
    return f"! {result.cell.name}: {result.observed or 'no end'} instead of {result.cell.expected}{why}"
