"""The alerts page: what fires, what was, who was told, what is silenced, and the forms for all of it."""

from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from handrail.console.access import STAFF, Visitor, services_of
from handrail.console.door import Door, Fields, last_of
from handrail.console.rendering import Renderer
from handrail.console.runbook import Block, runbook
from handrail.core.errors import HandrailError, NotFound
from handrail.core.principal import Role
from handrail.flows.alert_desk import AlertDesk, SilenceWanted, desk_of
from handrail.insight.alerts import RULES
from handrail.protection.auth import Scope

MOST_SHOWN = 100
MOST_PAST = 30
MOST_NOTE = 500


@dataclass(frozen=True, slots=True)
class AlertsPage:
    """The page's routes."""

    renderer: Renderer

    async def show(self, request: Request, visitor: Visitor) -> Response:
        tested = request.query_params.get("tested")
        is_channel = tested in services_of(request).alerts.sender.channels
        return await self._page(request, visitor, done=f"A test message was sent to {tested}." if is_channel else None)

    async def show_one(self, request: Request, visitor: Visitor) -> Response:
        """One alert, with who was told of it."""
        try:
            desk = _desk(request, visitor)
            each = await desk.show(_named(request, "alert_id"))
        except NotFound as missing:
            title, reason = "There is no such alert", f"{missing.message}."
            return self.renderer.page(
                "message.html", current="alerts", visitor=visitor, status=404, title=title, reason=reason
            )
        may = visitor.looks_after_alerts and (each["tenant"] is not None or desk.is_of_deployment)
        return self.renderer.page("one_alert.html", current="alerts", visitor=visitor, each=each, may=may)

    async def post_ack(self, request: Request, visitor: Visitor, fields: Fields) -> Response:
        """Acknowledge the alert of the form's address."""
        note = last_of(fields, "note").strip()[:MOST_NOTE] or None
        return await self._done(
            request, visitor, _desk(request, visitor).acknowledge(_named(request, "alert_id"), note)
        )

    async def post_silence(self, request: Request, visitor: Visitor, fields: Fields) -> Response:
        """Silence what the form names; a mistake shows the page again with what to do."""
        wanted = _silence_of(fields)
        if isinstance(wanted, str):
            return await self._page(request, visitor, wanted, 422, given=fields)
        return await self._done(request, visitor, _desk(request, visitor).silence(wanted), fields)

    async def post_end(self, request: Request, visitor: Visitor, _fields: Fields) -> Response:
        """End the silence of the form's address."""
        return await self._done(request, visitor, _desk(request, visitor).end_silence(_named(request, "silence_id")))

    async def post_test(self, request: Request, visitor: Visitor, _fields: Fields) -> Response:
        """Send a message to a channel and say what became of it."""
        try:
            sent = await _desk(request, visitor).test(_named(request, "channel"))
        except HandrailError as error:
            return await self._page(request, visitor, f"{error.message}.", 409)
        if sent["error"]:
            return await self._page(request, visitor, f"{sent['channel']} took no message: {sent['error']}.", 409)
        return RedirectResponse(f"/console/alerts?tested={sent['channel']}", 303)

    async def show_runbook(self, request: Request, visitor: Visitor) -> Response:
        """What each alert means, and what to do."""
        blocks: list[Block] = runbook()
        return self.renderer.page("runbook.html", current="alerts", visitor=visitor, blocks=blocks)

    async def _done(self, request: Request, visitor: Visitor, work: Any, given: Fields | None = None) -> Response:
        try:
            await work
        except HandrailError as error:
            return await self._page(request, visitor, f"{error.message}.", 409, given=given)
        return RedirectResponse("/console/alerts", 303)

    async def _page(
        self,
        request: Request,
        visitor: Visitor,
        error: str | None = None,
        status: int = 200,
        done: str | None = None,
        given: Fields | None = None,
    ) -> Response:
        desk = _desk(request, visitor)
        past = (await desk.list(state="resolved", limit=MOST_PAST))["data"]
        known = await desk.rules()
        return self.renderer.page(
            "alerts.html",
            current="alerts",
            visitor=visitor,
            status=status,
            error=error,
            done=done,
            firing=(await desk.list(state="firing", limit=MOST_SHOWN))["data"],
            pending=(await desk.list(state="pending", limit=MOST_SHOWN))["data"],
            past=past,
            silences=await desk.silences(),
            maintenance=desk.maintenance(),
            notices=await desk.notices(limit=MOST_PAST),
            rules=known["data"],
            channels=known["channels"],
            problem=known["problem"],
            names=RULES,
            wanted=_wanted(request, given),
            is_of_deployment=desk.is_of_deployment,
        )


def _desk(request: Request, visitor: Visitor) -> AlertDesk:
    return desk_of(services_of(request), visitor.principal)


def _named(request: Request, name: str) -> str:
    return str(request.path_params[name])


_SILENCE = ("rule", "label", "value", "hours", "starts_in", "reason")


def _wanted(request: Request, given: Fields | None) -> dict[str, str]:
    """What the form of a silence begins with: what was typed, or what a link to it names."""
    asked = request.query_params
    return {name: (last_of(given, name) if given else asked.get(name, ""))[:MOST_NOTE] for name in _SILENCE}


def _silence_of(fields: Fields) -> SilenceWanted | str:
    """What the form asks for, or what is wrong with it."""
    rule, label, value = (last_of(fields, name).strip() for name in ("rule", "label", "value"))
    reason = last_of(fields, "reason").strip()[:MOST_NOTE]
    if rule and rule not in RULES:
        return f"There is no rule {rule!r}."
    if bool(label) != bool(value) or len(label) > 63 or len(value) > 120:
        return "Give a label with its value, such as agent and shop, or neither."
    try:
        hours, starts_in = (float(last_of(fields, name) or "0") for name in ("hours", "starts_in"))
    except ValueError:
        return "Hours are numbers, such as 2 or 0.5."
    matchers = ({"rule": rule} if rule else {}) | ({label: value} if label else {})
    return SilenceWanted(matchers, hours, reason, starts_in)


def add_routes(app: FastAPI, renderer: Renderer) -> None:
    page, door = AlertsPage(renderer), Door(renderer)
    for path, shown in (
        ("/console/alerts", page.show),
        ("/console/alerts/{alert_id}", page.show_one),
        ("/console/runbook", page.show_runbook),
    ):
        app.add_route(path, door.shows("alerts", shown, Scope.ALERTS_READ, *STAFF), include_in_schema=False)
    for path, form in (
        ("/console/alerts/silences", page.post_silence),
        ("/console/alerts/silences/{silence_id}", page.post_end),
        ("/console/alerts/channels/{channel}", page.post_test),
        ("/console/alerts/{alert_id}", page.post_ack),
    ):
        take = door.takes("alerts", form, Scope.ALERTS_WRITE, Role.OPERATOR, Role.ADMIN)
        app.add_route(path, take, methods=["POST"], include_in_schema=False)
