"""The scorecard page: does the agent do what it is there for, how sure is that, and compared with what."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from handrail.console.access import STAFF, Visitor, services_of
from handrail.console.asked import require_asked
from handrail.console.asked import said as said_of
from handrail.console.charts import Bar, bars
from handrail.console.door import Door, Fields
from handrail.console.rendering import Renderer
from handrail.console.words import conversations_link, counted
from handrail.core.errors import HandrailError, NotFound, UsageError
from handrail.core.principal import Principal, Role
from handrail.flows.ranges import begun
from handrail.flows.scorecard import ScorecardDesk, scorecards
from handrail.flows.scorecard_body import baseline_body, scorecard_body
from handrail.insight.scorecard.wording import burn, change, left, number, said
from handrail.protection.auth import Scope
from handrail.reports.filters import NARROWS

RANGES = {"1": "1 day", "7": "7 days", "28": "28 days", "90": "90 days"}
# The same times as parameters of the list of conversations.
LISTED = {"1": "24h", "7": "7d", "28": "28d", "90": "90d"}
_GROUPS = {"business": "Business", "technical": "Technical", "quality": "Quality"}


@dataclass(frozen=True, slots=True)
class ScorecardPage:
    """The page's routes; every choice on it is a parameter of its address."""

    renderer: Renderer

    async def show(self, request: Request, visitor: Visitor) -> Response:
        return await self._page(request, visitor)

    async def post(self, request: Request, visitor: Visitor, fields: Fields) -> Response:
        """Keep a baseline of what the page shows."""
        desk = _desk(request, visitor.principal)
        days = _days(fields.get("days", [""])[0])
        until = services_of(request).clock.micros()
        note = fields.get("note", [""])[0].strip()[:500] or None
        agent = fields.get("agent", [""])[0] or None
        try:
            await desk.record_baseline(agent, since=begun(LISTED[days], until), until=until, note=note)
        except HandrailError as error:
            return await self._page(request, visitor, f"{error.message}.", 422)
        return RedirectResponse(f"/console/scorecard?days={days}", 303)

    async def _page(self, request: Request, visitor: Visitor, error: str | None = None, status: int = 200) -> Response:
        desk, chosen = _desk(request, visitor.principal), request.query_params
        days = _days(chosen.get("days", ""))
        until = services_of(request).clock.micros()
        narrowed = {name: chosen[name] for name in NARROWS if chosen.get(name)}
        if error is None and (wrong := _wrong(chosen)) is not None:
            error, status = said_of(wrong, instead=f"These are the figures of {RANGES[days]} without it."), 422
        try:
            found = await desk.report(
                narrowed.get("agent"),
                since=begun(LISTED[days], until),
                until=until,
                release_id=narrowed.get("release_id"),
                intent=narrowed.get("intent"),
                channel=narrowed.get("channel"),
            )
            report: Any = scorecard_body(found)
            kept = [baseline_body(each) for each in await desk.baselines(narrowed.get("agent"))]
        except HandrailError as failed:
            report, kept, error = None, [], error or f"{failed.message}."
            status = 404 if isinstance(failed, NotFound) and status == 200 and narrowed else status
        listed = {"range": LISTED[days], **narrowed, **({} if report is None else {"agent": report["agent"]})}
        return self.renderer.page(
            "scorecard.html",
            current="scorecard",
            visitor=visitor,
            status=status,
            error=error,
            report=report,
            groups=[] if report is None else [_group(*each, report, listed) for each in _GROUPS.items()],
            budgets=[] if report is None else _budgets(report, listed),
            burns=[]
            if report is None
            else [(burn(each), each["is_too_fast"]) for each in report["objectives"]["burn"]],
            errors=[] if report is None else _errors(report, listed),
            targets=None if report is None else _targets(report),
            baselines=kept,
            days=days,
            ranges=RANGES,
            narrowed=narrowed,
            may_keep=visitor.keeps_baselines,
        )


def _desk(request: Request, principal: Principal) -> ScorecardDesk:
    services = services_of(request)
    return scorecards(services, principal)


def _wrong(given: Mapping[str, str]) -> UsageError | None:
    """What the address asks for and this page does not have."""
    try:
        require_asked(given, ("days", *NARROWS))
    except UsageError as wrong:
        return wrong
    days = given.get("days") or "7"
    if days in RANGES:
        return None
    return UsageError(f"days {days[:20]!r} is not known; use one of {', '.join(RANGES)}", param="days")


def _days(text: str) -> str:
    return text if text in RANGES else "7"


# The conversations that a measure looks at, as an outcome of the list.
_BEHIND = {
    "csat": "rated",
    "nps": "recommended",
    "thumbs_up_rate": "thumbed",
    "cost_per_resolved": "resolved",
}


def _behind(each: dict[str, Any], chosen: Mapping[str, str]) -> str | None:
    # Verdicts of reviews are of no list yet, and none tells classes of latency apart.
    if each["of"] == "reviewed turns" or each["kind"] == "seconds":
        return None
    # Turns count at once, those of pending conversations too.
    if each["of"] in ("turns", "tool calls"):
        return conversations_link(chosen)
    return conversations_link(chosen, outcome=_BEHIND.get(each["key"], "closed"), closed="1")


def _slower(each: dict[str, Any], chosen: Mapping[str, str]) -> str | None:
    if each["kind"] != "seconds" or each["value"] is None:
        return None
    return conversations_link(chosen, min_seconds=f"{each['value']:.3f}")


def _group(name: str, title: str, report: dict[str, Any], chosen: Mapping[str, str]) -> dict[str, Any]:
    currency = report["currency"]
    lines = [
        {
            "title": each["title"],
            "definition": each["definition"],
            "value": said(each, each["kind"], currency),
            "sample": _sample(each),
            "users": _users(each),
            "href": _behind(each, chosen),
            "slower": _slower(each, chosen),
            "previous": said(each["previous"], each["kind"], currency),
            "change": change(each, each["change"], currency),
            "baseline": "" if each["baseline"] is None else said(each["baseline"], each["kind"], currency),
            "gain": change(each, each["change_from_baseline"], currency),
            "target": "" if each["target"] is None else number(each["target"], each["kind"], currency),
            "verdict": each["verdict"],
        }
        for each in report["measures"]
        if each["group"] == name
    ]
    return {"title": title, "id": name, "lines": lines}


def _sample(each: dict[str, Any]) -> str:
    return "" if each["value"] is None else f"{each['n']:,} {each['of']}"


def _users(each: dict[str, Any]) -> str:
    return "" if each["value"] is None or each["users"] is None else f", {counted(each['users'], 'user')}"


def _errors(report: dict[str, Any], chosen: Mapping[str, str]) -> list[dict[str, Any]]:
    return [
        {
            "type": each["type"].replace("_", " "),
            "href": conversations_link(chosen, happened=f"error:{each['type']}"),
            "share": said(each, "share", "") if each["is_enough"] else "",
            "sample": f"{each['count']:,} of {each['n']:,} turns",
            "before": each["previous_count"],
        }
        for each in report["errors"]
    ]


def _budgets(report: dict[str, Any], chosen: Mapping[str, str]) -> list[dict[str, Any]]:
    """A row for each error budget, with what used it up; of few turns only what was counted."""
    found = report["objectives"]
    # Its own time, by whole hours as the sums are.
    over = {name: value for name, value in chosen.items() if name != "range"} | {"since": f"{found['since'][:13]}:00Z"}
    bad = found["availability"]["bad"]
    failed = f"{bad:,} {'turn' if bad == 1 else 'turns'} that failed"
    named = [
        ("Turns end without an error", found["availability"], failed, {"happened": "error"}),
        *(
            (
                f"{each['latency_class'].capitalize()} turns take at most {each['seconds']:g} s",
                each,
                "the slower ones",
                {"min_seconds": f"{each['seconds']:.3f}"},
            )
            for each in found["latency"]
        ),
    ]
    return [
        {
            "name": name,
            "objective": f"{each['objective'] * 100:g} %",
            "now": said(each, "share", "") if each["is_enough"] else "not measured yet" if not each["n"] else "",
            "sample": f"{each['n'] - each['bad']} of {each['n']} turns" if each["n"] else "",
            "behind": behind if each["bad"] else "",
            "href": conversations_link(over, **narrower),
            "left": left(each) if each["n"] else "–",
            "verdict": "quiet" if each["budget_left"] is None else "is-bad" if each["budget_left"] < 0 else "is-good",
            "rate": "–" if each["burn_rate"] is None else f"{each['burn_rate']:.2f}",
        }
        for name, each, behind, narrower in named
    ]


def _targets(report: dict[str, Any]) -> Any:
    rows = [each for each in report["measures"] if each["target"] is not None and each["kind"] == "share"]
    drawn = [
        Bar(
            f"{each['title']} (target {number(each['target'], 'share', '')})",
            each["value"] if each["is_enough"] else None,
            said(each, "share", ""),
            each["low"],
            each["high"],
        )
        for each in rows
    ]
    return bars("Shares with a target", drawn, head=("Measure", "Now, with its interval"), top=1.0) if drawn else None


def add_routes(app: FastAPI, renderer: Renderer) -> None:
    page, door = ScorecardPage(renderer), Door(renderer)
    shown = door.shows("scorecard", page.show, Scope.INSIGHT_READ, *STAFF)
    app.add_route("/console/scorecard", shown, include_in_schema=False)
    kept = door.takes("scorecard", page.post, Scope.INSIGHT_WRITE, Role.OPERATOR, Role.ADMIN)
    app.add_route("/console/scorecard", kept, methods=["POST"], include_in_schema=False)
