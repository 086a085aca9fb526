"""`handrail simulate`: days of made-up traffic through the real flows, so that every page has something to show."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from handrail.testing.simulation import Report

Project = Annotated[
    Path | None, typer.Option("--project", help="Folder of the agent project (default: the shop, our example).")
]
Seed = Annotated[int, typer.Option(help="The same seed makes the same days.")]
Days = Annotated[
    int,
    typer.Option(min=1, max=31, help="How many days, ending now; rates count what is over for a day."),
]
Incidents = Annotated[
    Literal["usual", "all"],
    typer.Option(help="`all`: ten days on which every alert rule fires and is resolved, in place of the usual ones."),
]
Conversations = Annotated[int, typer.Option(min=1, max=20_000, help="How many conversations, apart from those again.")]
DataDir = Annotated[Path | None, typer.Option("--data-dir", help="Where data lives (default .handrail).")]
Force = Annotated[bool, typer.Option("--force", help="Write into a folder with real conversations all the same.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the counts as JSON.")]


def simulate(
    project: Project = None,
    seed: Seed = 1,
    days: Days = 2,
    conversations: Conversations = 600,
    incidents: Incidents = "usual",
    data_dir: DataDir = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Let made-up users talk to the agent for some days, ending now, with incidents on the last of them.

    The flows are those of a server; people, models and the systems behind tools are made up, so that no tool of the
    project is called and nobody is charged or told. Look at it with `handrail serve` on the same folder.
    """
    import asyncio

    from handrail.cli.serve import example_project
    from handrail.cli.simulate_desk import SimulationWanted, simulate_into
    from handrail.core import json
    from handrail.settings import read_settings

    settings = read_settings(data_dir=data_dir)
    folder = example_project("shop") if project is None else project
    wanted = SimulationWanted(seed, days, conversations, every_rule=incidents == "all")
    report = asyncio.run(simulate_into(settings, folder, wanted, force=force))
    typer.echo(json.dumps(_body(report)) if as_json else "\n".join(lines_of(report)))


def lines_of(report: "Report") -> list[str]:
    """What happened, for people."""
    from handrail.insight.alerts import RULES

    counts = [f"{count:>6}  {what}" for what, count in sorted(report.counts.items())]
    fired = [
        f"{count:>6}  {rule}: {report.resolved.get(rule, 0)} resolved" for rule, count in sorted(report.fired.items())
    ]
    quiet = sorted(set(RULES) - set(report.fired))
    still = ", ".join(sorted(report.still_firing))
    return [
        *counts,
        "alerts that fired:",
        *(fired or ["  none"]),
        *([f"rules that stayed quiet: {', '.join(quiet)}"] if quiet else []),
        f"still firing at the end: {still or 'none'}",
    ]


def _body(report: "Report") -> dict[str, object]:
    from handrail.insight.alerts import RULES

    return {
        "object": "simulation",
        "counts": dict(report.counts),
        "alerts": {
            rule: {"fired": report.fired.get(rule, 0), "resolved": report.resolved.get(rule, 0)} for rule in RULES
        },
    }
