"""The page of switches and breakers: what is off, what fails, and the forms to switch off and on."""

from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from handrail.console.access import STAFF, Visitor, services_of
from handrail.console.door import Door, Fields, last_of
from handrail.console.rendering import Renderer
from handrail.core.errors import HandrailError
from handrail.core.principal import Role
from handrail.flows.switches import SwitchWanted, breakers_of, doubt, switch_off, switch_on, view_of
from handrail.protection.auth import Scope
from handrail.serving.resilience import KINDS

MOST_SHOWN = 100
MOST_ENDED = 20
MOST_NAME, MOST_REASON = 200, 500
_STATES = {"closed": "closed: calls go through", "open": "open: not called", "half_open": "half open: probing"}


@dataclass(frozen=True, slots=True)
class SwitchesPage:
    """The page's routes."""

    renderer: Renderer

    async def show(self, request: Request, visitor: Visitor) -> Response:
        return await self._page(request, visitor)

    async def post_off(self, request: Request, visitor: Visitor, fields: Fields) -> Response:
        """Switch off what the form names; a mistake shows the page again with what to do."""
        kind, name, reason = (last_of(fields, each).strip() for each in ("kind", "name", "reason"))
        if kind not in KINDS or not 0 < len(name) <= MOST_NAME or not 0 < len(reason) <= MOST_REASON:
            return await self._page(request, visitor, "Say what to switch off: its kind, its name, and why.", 422)
        wanted = SwitchWanted(kind, name, reason, stop_running=last_of(fields, "stop_running") == "yes")
        try:
            made = await switch_off(services_of(request), visitor.principal, wanted)
            warning = await doubt(services_of(request), visitor.principal, made)
        except HandrailError as error:
            return await self._page(request, visitor, f"{error.message}.", 409)
        if warning is not None:
            return await self._page(request, visitor, f"{made.kind} {made.name!r} is off, but {warning}")
        return RedirectResponse("/console/switches", 303)

    async def post_on(self, request: Request, visitor: Visitor, fields: Fields) -> Response:
        """Switch on again what the form's address names."""
        reason = last_of(fields, "reason").strip()[:MOST_REASON] or None
        try:
            await switch_on(services_of(request), visitor.principal, request.path_params["switch_id"], reason)
        except HandrailError as error:
            return await self._page(request, visitor, f"{error.message}.", 409)
        return RedirectResponse("/console/switches", 303)

    async def _page(self, request: Request, visitor: Visitor, error: str | None = None, status: int = 200) -> Response:
        services = services_of(request)
        store, whose = services.switch_store, view_of(visitor.principal)
        off = await store.newest(whose, limit=MOST_SHOWN)
        ended = [each for each in await store.newest(whose, limit=MOST_SHOWN, ended_too=True) if not each.is_off]
        return self.renderer.page(
            "switches.html",
            current="switches",
            visitor=visitor,
            status=status,
            error=error,
            kinds=KINDS,
            off=[each.body() for each in off],
            ended=[each.body() for each in ended[:MOST_ENDED]],
            breakers=[_breaker(each) for each in breakers_of(services, visitor.principal)],
        )


def _breaker(body: dict[str, Any]) -> dict[str, Any]:
    return body | {"is_good": body["state"] == "closed", "said": _STATES[body["state"]]}


def add_routes(app: FastAPI, renderer: Renderer) -> None:
    page, door = SwitchesPage(renderer), Door(renderer)
    app.add_route(
        "/console/switches", door.shows("switches", page.show, Scope.SWITCHES_READ, *STAFF), include_in_schema=False
    )
    for path, form in (("/console/switches", page.post_off), ("/console/switches/{switch_id}", page.post_on)):
        take = door.takes("switches", form, Scope.SWITCHES_WRITE, Role.OPERATOR, Role.ADMIN)
        app.add_route(path, take, methods=["POST"], include_in_schema=False)
