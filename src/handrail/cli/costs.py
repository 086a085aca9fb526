"""`handrail costs`: what calls of models cost, and how budgets stand."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from handrail.settings import Settings

Body = dict[str, Any]
COLUMNS = {
    "day": "day",
    "agent": "agent",
    "model": "model",
    "release": "release_id",
    "intent": "intent",
}


def costs(
    since: Annotated[str | None, typer.Option(help="First day, such as 2026-11-01 (default: 30 days).")] = None,
    until: Annotated[str | None, typer.Option(help="Last day (default: today, UTC).")] = None,
    by: Annotated[str, typer.Option(help="Of day, agent, model, release, intent, by comma.")] = "day,agent,model",
    tenant: Annotated[str | None, typer.Option(help="Whose (default: default).")] = None,
    data_dir: Annotated[Path | None, typer.Option("--data-dir", help="Where data lives (default .handrail).")] = None,
    database_url: Annotated[str | None, typer.Option(help="postgresql://... instead of SQLite.")] = None,
    unpriced: Annotated[bool, typer.Option("--unpriced", help="What has no cost, and why.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show calls of models, their tokens and costs, and how budgets stand."""
    import asyncio

    from handrail.core import json
    from handrail.settings import read_settings

    given = {"since": since, "until": until, "by": by, "tenant": tenant}
    query = {name: value for name, value in given.items() if value is not None}
    settings = read_settings(data_dir=data_dir, database_url=database_url)
    usage, budgets = asyncio.run(_ask(settings, query))
    if as_json:
        typer.echo(json.dumps(usage | {"budgets": budgets}))
        return
    if unpriced:
        typer.echo("\n".join(unpriced_lines(usage)))
        return
    typer.echo("\n".join([*table(usage, by.split(",")), *notes(usage), *map(budget_line, budgets)]))


async def _ask(settings: "Settings", query: Mapping[str, str]) -> tuple[Body, list[Body]]:
    """From the server that holds the data folder, or from the database itself."""
    from urllib.parse import urlencode

    from handrail.bootstrap import services_from
    from handrail.cli.local_server import held_by
    from handrail.flows.spending import budgets_of, usage_of, wanted_of
    from handrail.protection.auth import LOCAL_OPERATOR

    tenant = {"tenant": query["tenant"]} if "tenant" in query else {}
    async with held_by(settings) as server:
        if server is not None:
            usage = await server.ask("GET", f"/v1/usage?{urlencode(query)}", seconds=60.0)
            budgets = await server.ask("GET", f"/v1/budgets?{urlencode(tenant)}")
            return usage, budgets["data"]
        async with services_from(settings) as services:
            usage = await usage_of(services, LOCAL_OPERATOR, wanted_of(query, services.clock.micros()))
            found = await budgets_of(services, LOCAL_OPERATOR, query.get("tenant"))
            return usage, [each.body() for each in found]


def table(usage: Body, by: Sequence[str]) -> list[str]:
    """Lines with a head and a sum, in columns."""
    names = [COLUMNS[each] for each in by if each in COLUMNS]
    head = [*names, "calls", "input", "output", "cost"]
    rows = [head, *(_cells(each, names) for each in usage["data"]), ["total", *[""] * (len(names) - 1)][: len(names)]]
    rows[-1] = [*rows[-1], *_cells(usage["total"], [])]
    widths = [max(len(row[place]) for row in rows) for place in range(len(head))]
    return [
        "  ".join(
            cell.ljust(width) if place < len(names) else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def notes(usage: Body) -> list[str]:
    """What the sums leave out."""
    said: list[str] = []
    if missing := usage["total"]["unpriced_calls"]:
        said.append(f"{missing} calls have no known cost and are in no sum")
    if models := usage["unpriced_models"]:
        said.append(f"no price is known of {', '.join(models)}; set HANDRAIL_COSTS__PRICES")
    return said


def unpriced_lines(usage: Body) -> list[str]:
    """Calls without a cost by model and release, the most frequent first."""
    return [
        f"{each['provider']}/{each['model']} of {each['release_id']}: {each['calls']} calls, "
        f"{each['first_at'][:10]} to {each['last_at'][:10]}, "
        + (
            f"{each['input_tokens']:,} tokens in and {each['output_tokens']:,} out: no price is known; "
            "set HANDRAIL_COSTS__PRICES"
            if each["reason"] == "no_price"
            else "the provider told no tokens, or there was no answer"
        )
        for each in usage["unpriced"]
    ] or ["every call has a cost"]


def budget_line(budget: Body) -> str:
    """One budget in a sentence."""
    spent = f"budget {budget['name']!r}: {dollars(budget['spent_micros'])} of {dollars(budget['budget_micros'])}"
    spent += f" ({budget['used']:.0%}) this {budget['period']}"
    forecast = budget["forecast"]
    if forecast is None:
        return f"{spent}; too little is known for a forecast"
    between = ""
    if forecast["low_micros"] is not None:
        between = f" ({dollars(forecast['low_micros'])} to {dollars(forecast['high_micros'])})"
    reached = "" if budget["reached_on"] is None else f"; all of it by {budget['reached_on']}"
    return f"{spent}; {dollars(forecast['expected_micros'])}{between} if it goes on like {forecast['basis']}{reached}"


def dollars(micros: int | None) -> str:
    """`12.34 USD`; more digits when it is less than a cent."""
    if micros is None:
        return "unknown"
    return f"{micros / 1e6:,.2f} USD" if abs(micros) >= 10_000 or not micros else f"{micros / 1e6:.6f} USD"


def _cells(line: Body, names: Sequence[str]) -> list[str]:
    counted = [line["calls"], line["input_tokens"], line["output_tokens"]]
    cost = ("at least " if line["unpriced_calls"] and line["cost_micros"] is not None else "") + dollars(
        line["cost_micros"]
    )
    return [
        *(str(line[name] or "-") for name in names),
        *("unknown" if each is None else f"{each:,}" for each in counted),
        cost,
    ]
