"""The dashboard: what the agents did in a time, each number a link to the conversations behind it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from fastapi import FastAPI
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response

from handrail.console.access import STAFF, Visitor, services_of
from handrail.console.asked import read_asked, status_of
from handrail.console.asked import said as told
from handrail.console.charts import Bar, Series, bars, lines, milliseconds
from handrail.console.door import Door
from handrail.console.figures import Body, figures_of_file, filters_asked, note_export, unknown_in
from handrail.console.files import as_csv, as_file
from handrail.console.rendering import Renderer
from handrail.console.words import conversations_link, counted, dollars
from handrail.core.ages import in_words
from handrail.core.json import dumps
from handrail.flows.dashboard import (
    CLASSES,
    DEFAULT_RANGE,
    dashboard_body,
    filters_of,
    now_body,
    rows_of,
)
from handrail.flows.ranges import RANGE_NAMES
from handrail.insight.scorecard import MEASURES
from handrail.insight.scorecard.wording import number, said
from handrail.protection.auth import Scope
from handrail.reports.filters import NARROWS
from handrail.reports.series import names

MOST_REASONS = 12
MOST_BUDGETS = 6
MOST_RELEASES = 3
PAGE_OF_ALERTS = 50


@dataclass(frozen=True, slots=True)
class DashboardPage:
    """The page and its files; every choice is a parameter of the address."""

    renderer: Renderer

    async def show(self, request: Request, visitor: Visitor) -> Response:
        services = services_of(request)
        tenant_id, now = visitor.principal.tenant_id, services.clock.micros()
        given, filters, error = read_asked(request.query_params, lambda asked: filters_asked(tenant_id, now, asked))
        chosen = {"range": given.get("range") or DEFAULT_RANGE} | {
            name: value for name in NARROWS if (value := getattr(filters, name))
        }
        body = await dashboard_body(services, filters)
        unknown = await unknown_in(services, filters, is_empty=not body["turns"])
        wide = filters_of(tenant_id, now, {"range": chosen["range"]})
        waits = await now_body(services, visitor.principal, alerts=visitor.sees_alerts, budgets=visitor.sees_budgets)
        choices = await names(services.db, wide)
        return self.renderer.page(
            "dashboard.html",
            current="dashboard",
            visitor=visitor,
            status=status_of(error or unknown),
            error=told(error, instead="These are the figures without it.") or told(unknown),
            ranges=RANGE_NAMES,
            chosen=chosen,
            choices=choices,
            query=urlencode(chosen),
            now=_now(waits),
            body=body,
            tiles=_tiles(body, chosen),
            charts=_charts(body, chosen),
            instructions=[_by_instructions(each, chosen) for each in body["instructions"]],
        )

    async def csv(self, request: Request, visitor: Visitor) -> Response:
        """The lines of the charts, or the table by instructions, for a spreadsheet."""
        table = request.query_params.get("table") or "time"
        rows = rows_of(await figures_of_file(request, visitor, dashboard_body, counts="turns"), table)
        note_export(request, visitor, "dashboard")
        return as_csv(rows, "dashboard.csv" if table == "time" else f"{table}.csv", empty=table)

    async def json(self, request: Request, visitor: Visitor) -> Response:
        """All that the page is made of."""
        body = await figures_of_file(request, visitor, dashboard_body, counts="turns")
        note_export(request, visitor, "dashboard")
        return as_file(dumps(body), "application/json", "dashboard.json")


def _now(body: Body) -> Sequence[Mapping[str, str]]:
    waiting, oldest = body["approvals_waiting"], body["oldest_approval_seconds"]
    opened = body["breakers_open"]
    return [
        {
            "name": "Approvals waiting",
            "value": str(waiting),
            "more": "" if oldest is None else f"the oldest for {in_words(oldest)}",
            "href": "/console/approvals",
            "kind": "is-bad" if oldest is not None and oldest > 3600 else "",
        },
        {
            "name": "Breakers open",
            "value": str(len(opened)),
            "more": ", ".join(opened[:2]),
            "href": "/console/switches",
            "kind": "is-bad" if opened else "",
        },
        {"name": "Turns running here", "value": str(body["turns_running"]), "more": "", "href": "", "kind": ""},
        *_firing(body["alerts_firing"]),
        *(_budget(each) for each in body["budgets"][:MOST_BUDGETS]),
    ]


def _firing(rules: Sequence[str] | None) -> Sequence[Mapping[str, str]]:
    if rules is None:
        return []
    names = ", ".join(list(dict.fromkeys(each.replace("_", " ") for each in rules))[:2])
    count = f"{len(rules)} or more" if len(rules) >= PAGE_OF_ALERTS else str(len(rules))
    return [
        {
            "name": "Alerts firing",
            "value": count,
            "more": names,
            "href": "/console/alerts",
            "kind": "is-bad" if rules else "",
        }
    ]


def _budget(each: Body) -> Mapping[str, str]:
    """What is spent, and what it comes to: nothing is stopped by it."""
    limit, forecast = each["budget_micros"], each["forecast"]
    expected = None if forecast is None else forecast["expected_micros"] / limit
    notes = [f"of {dollars(limit)} a {each['period']}"]
    if expected is not None:
        notes.append(f"{expected:.0%} at this pace")
    if each["unpriced_calls"]:
        notes.append(f"{counted(each['unpriced_calls'], 'call')} without a known price")
    is_bad = each["used"] >= 1 or (expected or 0) > 1
    name, spent = f"Budget {each['name']}", f"{'at least ' if each['unpriced_calls'] else ''}{each['used']:.0%}"
    return {
        "name": name,
        "value": spent,
        "more": ", ".join(notes),
        "href": "/console/costs",
        "kind": "is-bad" if is_bad else "",
    }


def _tiles(body: Body, chosen: Mapping[str, str]) -> Sequence[Mapping[str, str]]:
    """Each figure with what it is of, and a link to exactly those conversations."""
    closed, resolved, escalated, errors = body["closed"], body["resolved"], body["escalated"], body["errors"]
    unpriced = body["unpriced_calls"]
    without = f", {counted(unpriced, 'call')} without a known price" if unpriced else ""
    slow = {} if body["p95_ms"] is None else {"min_seconds": f"{body['p95_ms'] / 1000:.3f}"}
    value = dollars(body["value_micros"], body["value_currency"]) if body["value_micros"] else None
    each_value = _value_each(body) if value else ""

    def tile(name: str, value: str | None, more: str = "", before: str = "", **narrower: str) -> Mapping[str, str]:
        kind, href = "unknown" if value is None else "", conversations_link(chosen, **narrower)
        more = ", ".join(each for each in (more, _before(body, before)) if each)
        return {"name": name, "value": value or "not measured yet", "more": more, "href": href, "kind": kind}

    return [
        tile("Conversations", f"{body['conversations']:,}", f"{body['pending']:,} pending" if body["pending"] else ""),
        tile(
            "Resolved by the agent",
            _percent(resolved),
            _of(resolved, "closed"),
            "autonomous_resolution",
            outcome="resolved",
        ),
        tile(
            "Escalated",
            _percent(escalated),
            _of(escalated, "closed"),
            "escalation_rate",
            outcome="escalated",
            closed="1",
        ),
        tile("Turns that failed", _percent(errors), _of(errors, "turns"), "error_rate", happened="error"),
        tile("Half of the turns within", _time(body["p50_ms"]), _slow(body["p95_ms"]), **slow),
        tile(
            "Cost per conversation",
            _money(body["cost_per_conversation_micros"], body),
            f"{closed:,} closed{without}",
            "cost_per_conversation",
            outcome="closed",
        ),
        tile(
            "Cost per resolved one",
            _money(body["cost_per_resolved_micros"], body),
            f"{resolved['count']:,} resolved{without}",
            "cost_per_resolved",
            outcome="resolved",
        ),
        tile("Satisfaction", _csat(body["csat"]), _answers(body["csat"]["n"]), "csat", outcome="rated"),
        tile("Value events", value, each_value, "value_per_conversation", outcome="valued"),
        _false_hits(body["false_cache_hits"]),
    ]


def _of(each: Body, what: str) -> str:
    """How many of how many, and the interval where a share is shown of them."""
    counts = f"{each['count']:,} of {each['n']:,} {what}"
    if not each["is_enough"]:
        return counts
    return f"{counts}, {each['low'] * 100:.1f} to {each['high'] * 100:.1f}\u00a0%"


def _before(body: Body, measure: str) -> str:
    """What a measure was in the baseline, in a few words."""
    baseline = body["baseline"]
    kept = None if baseline is None else baseline["measures"].get(measure)
    if baseline is None or kept is None or kept["value"] is None:
        return ""
    return f"baseline {number(kept['value'], MEASURES[measure].kind, baseline['currency'])}"


def _value_each(body: Body) -> str:
    each = dollars(round(body["value_micros"] / max(body["conversations"], 1)), body["value_currency"])
    return f"{each} a conversation"


def _slow(p95_ms: float | None) -> str:
    return "" if p95_ms is None else f"95 of 100 within {_time(p95_ms)}; see the slower ones"


def _answers(count: int) -> str:
    return counted(count, "answer") if count else ""


def _false_hits(each: Body) -> Mapping[str, str]:
    """Nobody knows how often the cache is wrong until reviewers have looked."""
    more = _of(each, "of all agents that reviewers looked at") if each["n"] else ""
    value = _percent(each)
    kind = "unknown" if value is None else ""
    return {"name": "False cache hits", "value": value or "not measured yet", "more": more, "href": "", "kind": kind}


def _percent(each: Body) -> str | None:
    if each["value"] is None:
        return None
    return f"{each['value'] * 100:.1f} %" if each["is_enough"] else f"{each['count']} of {each['n']}"


def _time(value: float | None) -> str | None:
    return None if value is None else milliseconds(value)


def _money(micros: int | None, body: Body) -> str | None:
    if micros is None or (not micros and body["unpriced_calls"]):
        return None
    return dollars(micros)


def _csat(each: Body) -> str | None:
    return None if each["value"] is None else f"{each['value']:.2f} of 5"


def _charts(body: Body, chosen: Mapping[str, str]) -> Mapping[str, Markup]:
    points, by_hour = body["series"], body["bucket"] == "hour"
    times = [each["at"][5:16].replace("T", " ") if by_hour else each["at"][:10] for each in points]
    unit = "hour" if by_hour else "day"

    links = [conversations_link(chosen, **_span(each["at"], by_hour=by_hour)) for each in points]

    def line(label: str, show: Any, *series: Series) -> Markup:
        return lines(label, times, series, show, links)

    intents = [_intent(each, chosen) for each in body["intents"]]
    return {
        "conversations": line(
            f"Conversations by the {unit}",
            _count,
            Series("conversations", [each["conversations"] for each in points]),
            Series("escalated", [each["escalated"]["count"] for each in points]),
        ),
        "latency": line(
            "Time to the whole answer, 95 of 100 turns, by class",
            milliseconds,
            *(Series(name, [each[f"p95_{name}_ms"] for each in points]) for name in CLASSES),
        ),
        "cost": line(
            f"Cost by the {unit}, US dollars",
            _dollars,
            Series("cost", [_in_dollars(each["cost_micros"]) for each in points]),
        ),
        "satisfaction": line("Satisfaction, 1 to 5", _one, Series("CSAT", [each["csat"]["value"] for each in points])),
        "intents": bars("Resolved by intent", intents, head=("Intent", "Resolved by the agent alone"), top=1.0),
        "escalations": _reasons("Escalation reasons", body["escalation_reasons"], chosen, "escalation"),
        "errors": _reasons("Errors by type", body["error_types"], chosen, "error"),
        "guardrails": _reasons("Guardrails that tripped", body["guardrails"], chosen, "guardrail"),
    }


def _span(at: str, *, by_hour: bool) -> Mapping[str, str]:
    """The hour or the day that begins at a time, as parameters of the list."""
    since = datetime.fromisoformat(at)
    until = since + timedelta(hours=1 if by_hour else 24)
    return {"since": f"{since:%Y-%m-%dT%H:%M}Z", "until": f"{until:%Y-%m-%dT%H:%M}Z"}


def _intent(each: Body, chosen: Mapping[str, str]) -> Bar:
    name, resolved = each["intent"] or "no intent", each["resolved"]
    text = _few(each)
    if resolved["is_enough"]:
        text = f"{said(resolved, 'share', '')}, {text}"
    enough = resolved["value"] if resolved["is_enough"] else None
    link = conversations_link(chosen, intent=each["intent"]) if each["intent"] else None
    return Bar(name, enough, text, resolved["low"], resolved["high"], link)


def _few(each: Body) -> str:
    resolved = each["resolved"]
    parts = [f"{resolved['count']:,} of {resolved['n']:,} closed"] if resolved["n"] else []
    return ", ".join([*parts, *([f"{each['pending']:,} pending"] if each["pending"] else [])])


def _cost_of(each: Body) -> tuple[str, str]:
    unpriced = each["unpriced_calls"]
    if each["cost_micros"] is None:
        return ("not known" if unpriced else "no model"), ""
    return dollars(each["cost_micros"]), f"{counted(unpriced, 'call')} not known" if unpriced else ""


def _by_instructions(each: Body, chosen: Mapping[str, str]) -> Mapping[str, Any]:
    first, *others = each["releases"]

    def cell(value: str, more: str = "", **narrower: str) -> Mapping[str, Any]:
        # Conversations are found by one release, so that numbers of several lead nowhere.
        href = conversations_link(chosen, release_id=first, **narrower) if narrower and not others else ""
        return {"value": value, "more": more.split(", "), "href": href}

    resolved, errors = each["resolved"], each["errors"]
    return {
        "hash": each["hash"] or "not stored here",
        "agent": each["agent"] or "",
        "releases": [
            {"id": release_id, "href": conversations_link(chosen, release_id=release_id)}
            for release_id in each["releases"][:MOST_RELEASES]
        ],
        "others": f"and {len(each['releases']) - MOST_RELEASES} more" if len(each["releases"]) > MOST_RELEASES else "",
        "turns": f"{each['turns']:,}",
        "resolved": cell(
            _percent(resolved) or f"{each['pending']:,} pending",
            _of(resolved, "closed") if resolved["is_enough"] else "",
            **({} if resolved["value"] is None else {"outcome": "resolved"}),
        ),
        "failed": cell(
            _percent(errors) or "none yet", _of(errors, "turns") if errors["is_enough"] else "", happened="error"
        ),
        "latency": f"{_time(each['p50_ms']) or 'no data'} / {_time(each['p95_ms']) or 'no data'}",
        "cost": cell(*_cost_of(each)),
        "thumbs": cell(
            f"{each['thumbs_up']['count']} up, {each['thumbs_up']['n'] - each['thumbs_up']['count']} down",
            outcome="thumbed",
        ),
    }


def _reasons(label: str, found: Sequence[Body], chosen: Mapping[str, str], kind: str) -> Markup:
    rows = [
        Bar(name.replace("_", " "), each["count"], f"{each['count']:,}", link=link)
        for each in found[:MOST_REASONS]
        for name in [each["reason"]]
        for link in [conversations_link(chosen, happened=f"{kind}:{name}")]
    ]
    return bars(label, rows, head=("Reason", "Turns")) if rows else Markup("")


def _in_dollars(micros: int | None) -> float | None:
    return None if micros is None else micros / 1e6


def _count(value: float) -> str:
    return f"{value:.0f}" if value == int(value) else f"{value:.1f}"


def _dollars(value: float) -> str:
    return f"{value:.4f}" if 0 < value < 0.1 else f"{value:.2f}"


def _one(value: float) -> str:
    return f"{value:.1f}"


def add_routes(app: FastAPI, renderer: Renderer) -> None:
    page, door = DashboardPage(renderer), Door(renderer)
    for path, show in (("", page.show), (".csv", page.csv), (".json", page.json)):
        shown = door.shows("dashboard", show, Scope.INSIGHT_READ, *STAFF)
        app.add_route(f"/console/dashboard{path}", shown, include_in_schema=False)
