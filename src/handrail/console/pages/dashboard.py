"""The dashboard: what the agents did in a time, each number a link to the conversations behind it."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from fastapi import FastAPI
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response

from handrail.console.access import STAFF, Visitor, services_of
from handrail.console.charts import Bar, Series, bars, lines, milliseconds
from handrail.console.door import Door
from handrail.console.files import as_file, harmless
from handrail.console.rendering import Renderer
from handrail.core.ages import in_words
from handrail.core.errors import UsageError
from handrail.core.json import dumps
from handrail.flows.audit import insight_exported
from handrail.flows.dashboard import (
    CLASSES,
    DEFAULT_RANGE,
    RANGE_NAMES,
    RANGES,
    dashboard_body,
    filters_of,
    instructions_body,
    now_body,
    rows_of,
)
from handrail.insight.scorecard.wording import said
from handrail.protection.auth import Scope
from handrail.reports.filters import NARROWS
from handrail.reports.instructions import by_instructions
from handrail.reports.series import by

MOST_REASONS = 12
MOST_BUDGETS = 6
PAGE_OF_ALERTS = 50
Body = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class DashboardPage:
    """The page and its files; every choice is a parameter of the address."""

    renderer: Renderer

    async def show(self, request: Request, visitor: Visitor) -> Response:
        services, error = services_of(request), None
        given, tenant_id, now = dict(request.query_params), visitor.principal.tenant_id, services.clock.micros()
        try:
            filters = filters_of(tenant_id, now, given)
        except UsageError as wrong:
            error, filters = f"{wrong.message}.", filters_of(tenant_id, now, {})
        chosen = {"range": given.get("range") or DEFAULT_RANGE} | {
            name: value for name in NARROWS if (value := getattr(filters, name))
        }
        if chosen["range"] not in RANGES:
            chosen["range"] = DEFAULT_RANGE
        body = await dashboard_body(services, filters)
        wide = filters_of(tenant_id, now, {"range": chosen["range"]})
        waits = await now_body(services, visitor.principal, alerts=visitor.sees_alerts, budgets=visitor.sees_budgets)
        choices = {name: [each.name for each in await by(services.db, wide, name) if each.name] for name in NARROWS}
        return self.renderer.page(
            "dashboard.html",
            current="dashboard",
            visitor=visitor,
            status=422 if error else 200,
            error=error,
            ranges=RANGE_NAMES,
            chosen=chosen,
            choices=choices,
            query=urlencode(chosen),
            now=_now(waits),
            body=body,
            tiles=_tiles(body, chosen),
            charts=_charts(body, chosen),
            instructions=_by_instructions(instructions_body(await by_instructions(services.db, filters))),
        )

    async def csv(self, request: Request, visitor: Visitor) -> Response:
        """The lines of the charts as a table for a spreadsheet."""
        rows = rows_of(await self._exported(request, visitor))
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]) if rows else ["time"], lineterminator="\r\n")
        writer.writeheader()
        writer.writerows({name: harmless(value) for name, value in row.items()} for row in rows)
        return as_file(text.getvalue(), "text/csv; charset=utf-8", "dashboard.csv")

    async def json(self, request: Request, visitor: Visitor) -> Response:
        """All that the page is made of."""
        return as_file(dumps(await self._exported(request, visitor)), "application/json", "dashboard.json")

    async def _exported(self, request: Request, visitor: Visitor) -> Body:
        services = services_of(request)
        filters = filters_of(visitor.principal.tenant_id, services.clock.micros(), request.query_params)
        body = await dashboard_body(services, filters)
        services.audit.note(insight_exported(visitor.principal, "dashboard"))
        return body


def conversations_link(chosen: Mapping[str, str], **more: str) -> str:
    """The list of the conversations that a number counts."""
    return f"/console/conversations?{urlencode({**chosen, **more})}"


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
    notes = [f"of {limit / 1e6:.2f} USD a {each['period']}"]
    if expected is not None:
        notes.append(f"{expected:.0%} at this pace")
    if each["unpriced_calls"]:
        notes.append(f"{each['unpriced_calls']} calls without a known price")
    is_bad = each["used"] >= 1 or (expected or 0) > 1
    name, spent = f"Budget {each['name']}", f"{'at least ' if each['unpriced_calls'] else ''}{each['used']:.0%}"
    return {"name": name, "value": spent, "more": ", ".join(notes), "href": "", "kind": "is-bad" if is_bad else ""}


def _tiles(body: Body, chosen: Mapping[str, str]) -> Sequence[Mapping[str, str]]:
    pending = f"{body['pending']} pending" if body["pending"] else ""
    closed = f"of {body['closed']} closed"
    unpriced = f"{body['unpriced_calls']} calls without a known price" if body["unpriced_calls"] else ""
    answers = f"{body['csat']['n']} answers" if body["csat"]["n"] else ""
    value = f"{body['value_micros'] / 1e6:.2f} {body['value_currency']}" if body["value_micros"] else None
    dear = (
        {}
        if body["cost_per_conversation_micros"] is None
        else {"min_cost": f"{body['cost_per_conversation_micros'] / 1e6:.6f}"}
    )
    slow = {} if body["p95_ms"] is None else {"min_seconds": f"{body['p95_ms'] / 1000:.3f}"}

    def tile(name: str, value: str | None, more: str = "", **narrower: str) -> Mapping[str, str]:
        kind, href = "unknown" if value is None else "", conversations_link(chosen, **narrower)
        return {"name": name, "value": value or "not measured yet", "more": more, "href": href, "kind": kind}

    return [
        tile("Conversations", str(body["conversations"]), pending),
        tile("Resolved by the agent", _percent(body["resolved"]), closed, outcome="resolved"),
        tile("Escalated", _percent(body["escalated"]), closed, outcome="escalated"),
        tile("Turns that failed", _percent(body["errors"]), f"of {body['turns']} turns", outcome="failed"),
        tile("Answered within, p50", _time(body["p50_ms"]), f"p95 {_time(body['p95_ms'])}", **slow),
        tile("Cost per conversation", _money(body["cost_per_conversation_micros"], body), unpriced, **dear),
        tile("Cost per resolved one", _money(body["cost_per_resolved_micros"], body), unpriced, **dear),
        tile("Satisfaction", _csat(body["csat"]), answers),
        tile("Value events", value),
    ]


def _percent(each: Body) -> str | None:
    if each["value"] is None:
        return None
    return f"{each['value'] * 100:.1f} %" if each["is_enough"] else f"{each['count']} of {each['n']}"


def _time(value: float | None) -> str:
    return "no data" if value is None else milliseconds(value)


def _money(micros: int | None, body: Body) -> str | None:
    if micros is None or (not micros and body["unpriced_calls"]):
        return None
    dollars = micros / 1e6
    return f"{dollars:.4f} USD" if dollars < 0.1 else f"{dollars:.2f} USD"


def _csat(each: Body) -> str | None:
    return None if each["value"] is None else f"{each['value']:.2f} of 5"


def _charts(body: Body, chosen: Mapping[str, str]) -> Mapping[str, Markup]:
    points, by_hour = body["series"], body["bucket"] == "hour"
    times = [each["at"][5:16].replace("T", " ") if by_hour else each["at"][:10] for each in points]
    unit = "hour" if by_hour else "day"

    def line(label: str, show: Any, *series: Series) -> Markup:
        return lines(label, times, series, show)

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
        "escalations": _reasons("Escalation reasons", body["escalation_reasons"], chosen, "escalated"),
        "errors": _reasons("Errors by type", body["error_types"], chosen, "failed"),
        "guardrails": _reasons("Guardrails that tripped", body["guardrails"], chosen, "tripped"),
    }


def _intent(each: Body, chosen: Mapping[str, str]) -> Bar:
    name, resolved = each["intent"] or "no intent", each["resolved"]
    text = f"{said(resolved, 'share', '')}, {resolved['n']} closed" if resolved["is_enough"] else _few(each)
    enough = resolved["value"] if resolved["is_enough"] else None
    link = conversations_link(chosen, intent=each["intent"]) if each["intent"] else None
    return Bar(name, enough, text, resolved["low"], resolved["high"], link)


def _few(each: Body) -> str:
    resolved = each["resolved"]
    if not resolved["n"]:
        return f"{each['pending']} pending"
    return f"{resolved['count']} of {resolved['n']} closed"


def _cost_of(each: Body) -> str:
    if each["cost_micros"] is None:
        return "not known"
    others = f", {each['unpriced_turns']} turns not known" if each["unpriced_turns"] else ""
    return f"{each['cost_micros'] / 1e6:.4f} USD{others}"


def _by_instructions(found: Body) -> Body:
    rows = [
        {
            "hash": each["hash"][:12],
            "agent": each["agent"],
            "release_id": each["release_id"],
            "turns": each["turns"],
            "failed": _percent(each["failed"]) or f"{each['failed']['count']} of {each['turns']}",
            "latency": f"{_time(each['p50_ms'])} / {_time(each['p95_ms'])}",
            "cost": _cost_of(each),
            "thumbs": f"{each['thumbs_up']['count']} up, {each['thumbs_down']} down",
        }
        for each in found["rows"]
    ]
    return {**found, "rows": rows}


def _reasons(label: str, found: Sequence[Body], chosen: Mapping[str, str], outcome: str) -> Markup:
    rows = [
        Bar(name, each["count"], str(each["count"]), link=conversations_link(chosen, outcome=outcome))
        for each in found[:MOST_REASONS]
        for name in [each["reason"]]
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
