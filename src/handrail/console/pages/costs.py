"""Costs: what calls of models cost, by whom and for what, what nobody knows, and how the budgets stand."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from fastapi import FastAPI
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response

from handrail.console.access import STAFF, Visitor, services_of
from handrail.console.asked import read_asked, said, status_of
from handrail.console.charts import Series, lines
from handrail.console.door import Door
from handrail.console.figures import Body, figures_of_file, filters_asked, note_export, unknown_in
from handrail.console.files import as_csv, as_file
from handrail.console.rendering import Renderer
from handrail.console.words import conversations_link, counted, dollars
from handrail.core.json import dumps
from handrail.flows.costs import budgets_now, costs_body, rows_of
from handrail.flows.dashboard import DEFAULT_RANGE, filters_of
from handrail.flows.ranges import RANGE_NAMES
from handrail.protection.auth import Scope
from handrail.reports.filters import NARROWS
from handrail.reports.series import names

MOST_LINES = 50
UNSAID = (NOT_KNOWN, NOT_COMPARABLE) = ("not known", "not comparable")
_TITLES: Mapping[str, str] = {
    "models": "By model", "agents": "By agent", "intents": "By intent", "releases": "By release and instructions",
}  # fmt: skip
_HEADS: Mapping[str, str] = {"models": "Model", "agents": "Agent", "intents": "Intent", "releases": "Release"}
_WHY: Mapping[str, tuple[str, str]] = {
    "no_price": (
        "nobody knows its price",
        "Say it in HANDRAIL_COSTS__PRICES, in US dollars per million tokens or as free: {setting}. "
        "Calls that were made already get their cost within seconds of the start.",
    ),
    "no_tokens": (
        "the provider told no tokens, or gave no answer",
        "Without them there is no cost. Only if the model costs nothing, say so: {free}.",
    ),
    "broken_off": ("the call was broken off", "Nobody was told what it used; the provider's bill has it."),
    "lost": (
        "the process died while it waited",
        "The next one made the call again, and what the first used nobody was told; the provider's bill has it.",
    ),
}


@dataclass(frozen=True, slots=True)
class CostsPage:
    """The page and its files; every choice is a parameter of the address."""

    renderer: Renderer

    async def show(self, request: Request, visitor: Visitor) -> Response:
        services = services_of(request)
        tenant_id, now = visitor.principal.tenant_id, services.clock.micros()
        given, filters, error = read_asked(request.query_params, lambda asked: filters_asked(tenant_id, now, asked))
        chosen = {"range": given.get("range") or DEFAULT_RANGE} | {
            name: value for name in NARROWS if (value := getattr(filters, name))
        }
        body = await costs_body(services, filters)
        unknown = await unknown_in(services, filters, is_empty=not body["calls"])
        budgets = None
        if visitor.sees_budgets:
            budgets = [
                _budget(each) for each in await budgets_now(services, visitor.principal, alerts=visitor.sees_alerts)
            ]
        return self.renderer.page(
            "costs.html",
            current="costs",
            visitor=visitor,
            status=status_of(error or unknown),
            error=said(error, instead="These are the figures without it.") or said(unknown),
            ranges=RANGE_NAMES,
            chosen=chosen,
            choices=await names(services.db, filters_of(tenant_id, now, {"range": chosen["range"]})),
            query=urlencode(chosen),
            body=body,
            running=len(services.running),
            tiles=_tiles(body, chosen),
            charts=_charts(body, chosen),
            tables=[_table(name, body, chosen) for name in _TITLES],
            unpriced=[_unknown(each, chosen) for each in body["unpriced"]],
            budgets=budgets,
        )

    async def csv(self, request: Request, visitor: Visitor) -> Response:
        """The lines of the chart, or one of the tables, for a spreadsheet."""
        table = request.query_params.get("table") or "time"
        rows = rows_of(await figures_of_file(request, visitor, costs_body, counts="calls"), table)
        note_export(request, visitor, "costs")
        return as_csv(rows, "costs.csv" if table == "time" else f"costs-by-{table}.csv", empty=table)

    async def json(self, request: Request, visitor: Visitor) -> Response:
        """All that the page is made of, but the budgets."""
        body = await figures_of_file(request, visitor, costs_body, counts="calls")
        note_export(request, visitor, "costs")
        return as_file(dumps(body), "application/json", "costs.json")


def cost_said(each: Body, currency: str = "USD") -> str:
    """A sum that covers all calls, at least what it says where it does not, and not known where it covers none."""
    if each["cost_micros"] is None:
        return NOT_KNOWN
    return f"{'at least ' if each['unpriced_calls'] else ''}{dollars(each['cost_micros'], currency)}"


def _tiles(body: Body, chosen: Mapping[str, str]) -> Sequence[Mapping[str, str]]:
    """Each figure with what it is of, and a link to exactly those conversations."""
    ended, currency = body["conversations"], body["currency"]

    def tile(name: str, value: str | None, more: str = "", **narrower: str) -> Mapping[str, str]:
        kind = "unknown" if value in (None, *UNSAID) else ""
        href = conversations_link(chosen, **narrower)
        return {"name": name, "value": value or "not measured yet", "more": more, "href": href, "kind": kind}

    def per(name: str, among: int) -> str | None:
        micros = ended[f"cost_per_{name}_micros"]
        if micros is None:
            return NOT_KNOWN if among else None
        return f"{'at least ' if ended['unpriced_calls'] else ''}{dollars(micros, currency)}"

    unpriced = body["unpriced_calls"]
    return [
        tile("Spent", cost_said(body, currency), _before(body), happened="model"),
        tile("Calls of models", f"{body['calls']:,}", "", happened="model"),
        tile("Calls without a known cost", f"{unpriced:,}", "in no sum" if unpriced else "", happened="unpriced"),
        tile("Tokens in", f"{body['input_tokens']:,}", _cached(body), happened="model"),
        tile("Tokens out", f"{body['output_tokens']:,}", "", happened="model"),
        tile(
            "Cost per conversation",
            per("conversation", ended["closed"]),
            f"{ended['closed']:,} closed",
            outcome="closed",
        ),
        tile(
            "Cost per resolved one",
            per("resolved", ended["resolved"]),
            f"{ended['resolved']:,} resolved",
            outcome="resolved",
        ),
        tile("Value less cost", *_net(body), outcome="valued"),
    ]


def _before(body: Body) -> str:
    before = body["before"]
    return f"in the time before: {cost_said(before, body['currency'])}" if before["calls"] else ""


def _cached(body: Body) -> str:
    cached = body["cached_tokens"]
    return f"{cached:,} from the provider's cache" if cached else "none told as from a cache"


def _net(body: Body) -> tuple[str | None, str]:
    value, currency = body["value"], body["currency"]
    worth = dollars(value["value_micros"], value["currency"])
    if value["not_comparable"]:
        return NOT_COMPARABLE, f"{value['not_comparable']}. Value: {worth}"
    if value["net_micros"] is None:
        return None, "no value event came"
    is_most = bool(body["conversations"]["unpriced_calls"])
    return f"{'at most ' if is_most else ''}{dollars(value['net_micros'], currency)}", f"value: {worth}"


def _charts(body: Body, chosen: Mapping[str, str]) -> Mapping[str, Markup]:
    points, by_hour, currency = body["series"], body["bucket"] == "hour", body["currency"]
    times = [each["at"][5:16].replace("T", " ") if by_hour else each["at"][:10] for each in points]
    links = [conversations_link(chosen, happened="model", **_span(each["at"], by_hour=by_hour)) for each in points]
    unit = body["bucket"]
    spent = Series(f"spent, {currency}", [_units(each["cost_micros"]) for each in points])
    calls = [
        Series("calls", [each["calls"] for each in points]),
        Series("without a known cost", [each["unpriced_calls"] for each in points]),
    ]
    tokens = [
        Series(name.replace("_", " "), [each[name] for each in points])
        for name in ("input_tokens", "output_tokens", "cached_tokens")
    ]
    return {
        "spent": lines(f"Spent by the {unit}, {currency}", times, [spent], _amount, links),
        "calls": lines(f"Calls of models by the {unit}", times, calls, _count, links),
        "tokens": lines(f"Tokens by the {unit}", times, tokens, _count, links),
    }


def _span(at: str, *, by_hour: bool) -> Mapping[str, str]:
    since = datetime.fromisoformat(at)
    until = since + timedelta(hours=1 if by_hour else 24)
    return {"since": f"{since:%Y-%m-%dT%H:%M}Z", "until": f"{until:%Y-%m-%dT%H:%M}Z"}


def _table(name: str, body: Body, chosen: Mapping[str, str]) -> Mapping[str, Any]:
    found = body[name]
    return {
        "id": name,
        "title": _TITLES[name],
        "head": _HEADS[name],
        "lines": [_line(name, each, body, chosen) for each in found[:MOST_LINES]],
        "more": max(0, len(found) - MOST_LINES),
    }


def _line(name: str, each: Body, body: Body, chosen: Mapping[str, str]) -> Mapping[str, str]:
    title, under, narrower = _names(name, each)
    whole, part = body["cost_micros"], each["cost_micros"]
    return {
        "name": title,
        "under": under,
        "href": conversations_link(chosen, **{"happened": "model", **narrower}) if narrower else "",
        "calls": f"{each['calls']:,}",
        "unknown": counted(each["unpriced_calls"], "without a known cost", "without a known cost")
        if each["unpriced_calls"]
        else "",
        "input": f"{each['input_tokens']:,}",
        "cached": f"{each['cached_tokens']:,} cached" if each["cached_tokens"] else "",
        "output": f"{each['output_tokens']:,}",
        "cost": cost_said(each, body["currency"]),
        "share": f"{part / whole:.1%} of all".replace("%", " %") if whole and part is not None else "",
    }


def _names(name: str, each: Body) -> tuple[str, str, Mapping[str, str]]:
    """What a line is called, what stands under that, and what narrows the list of conversations down to it."""
    if name == "models":
        return each["model"], each["provider"], {"happened": f"model:{each['provider']}/{each['model']}"}
    if name == "releases":
        under = f"instructions {each['instructions'] or 'not stored here'}, {each['agent']}"
        return each["release_id"], under, {"release_id": each["release_id"]}
    if name == "intents":
        return each["intent"] or "no intent", "", {"intent": each["intent"]} if each["intent"] else {}
    return each["agent"], "", {"agent": each["agent"]}


def _unknown(each: Body, chosen: Mapping[str, str]) -> Mapping[str, str]:
    """Calls without a known cost: whose, why, and what can be done."""
    name = f"{each['provider']}/{each['model']}"
    why, what = _WHY[each["reason"]]
    rates = {name: {"input": "0.20", "output": "0.60"}}
    return {
        "model": name,
        "calls": counted(each["calls"], "call"),
        "why": why,
        "what": what.format(
            setting=f"`HANDRAIL_COSTS__PRICES='{dumps(rates)}'`",
            free=f"`HANDRAIL_COSTS__PRICES='{dumps({name: 'free'})}'`",
        ),
        "href": conversations_link(chosen, happened=f"{each['reason']}:{name}"),
    }


def _budget(each: Body) -> Mapping[str, Any]:
    """A line of the table of budgets."""
    currency, limit = each["currency"], each["budget_micros"]
    since, until = date.fromisoformat(each["since"]), date.fromisoformat(each["until"])
    within = {"since": f"{since}T00:00Z", "until": f"{until}T00:00Z", "happened": "model"}
    whose = {"agent": each["agent"]} if each["agent"] else {}
    return {
        "name": each["name"],
        "of": f"{each['agent'] or 'all agents'}, {dollars(limit, currency)} a {each['period']}",
        "spent": cost_said({"cost_micros": each["spent_micros"], "unpriced_calls": each["unpriced_calls"]}, currency),
        "href": conversations_link({"range": "90d", **whose}, **within),
        "used": f"{each['used']:.1%}".replace("%", " %"),
        "is_bad": each["used"] >= 1,
        "calls": f"{counted(each['unpriced_calls'], 'call')} without a known cost" if each["unpriced_calls"] else "",
        "forecast": _forecast(each),
        "basis": "" if each["forecast"] is None else f"going by {each['forecast']['basis']}",
        "reached": _reached(each, until),
        "is_late": each["reached_on"] is not None,
        "alerts": [
            {"name": one["rule"].replace("_", " "), "href": f"/console/alerts/{one['id']}"} for one in each["alerts"]
        ],
    }


def _forecast(each: Body) -> str:
    found, currency = each["forecast"], each["currency"]
    if found is None:
        return "too little is known"
    between = ""
    if found["low_micros"] is not None:
        between = f" ({dollars(found['low_micros'], currency)} to {dollars(found['high_micros'], currency)})"
    return f"{dollars(found['expected_micros'], currency)}{between} by the end of the {each['period']}"


def _reached(each: Body, until: date) -> str:
    if each["reached_on"] is not None:
        return f"{'since' if each['used'] >= 1 else 'on'} {each['reached_on']}"
    return "not known" if each["forecast"] is None else f"not before {until}"


def _units(micros: int | None) -> float | None:
    return None if micros is None else micros / 1e6


def _amount(value: float) -> str:
    return f"{value:.4f}" if 0 < value < 0.1 else f"{value:,.2f}"


def _count(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:,.1f}"


def add_routes(app: FastAPI, renderer: Renderer) -> None:
    page, door = CostsPage(renderer), Door(renderer)
    for path, show in (("", page.show), (".csv", page.csv), (".json", page.json)):
        shown = door.shows("costs", show, Scope.INSIGHT_READ, *STAFF)
        app.add_route(f"/console/costs{path}", shown, include_in_schema=False)
