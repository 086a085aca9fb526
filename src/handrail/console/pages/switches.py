"""The page of switches and breakers: what is off, what fails, and the forms to switch off and on."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from handrail.console.access import is_same_origin, operator_of, services_of
from handrail.console.rendering import Renderer
from handrail.core.errors import HandrailError
from handrail.flows.switches import SwitchWanted, breakers_of, switch_off, switch_on, view_of
from handrail.serving.resilience import KINDS

MOST_SHOWN = 100
MOST_ENDED = 20
MOST_FORM_BYTES = 16 * 1024
MOST_NAME, MOST_REASON = 200, 500
_STATES = {"closed": "closed: calls go through", "open": "open: not called", "half_open": "half open: probing"}


@dataclass(frozen=True, slots=True)
class SwitchesPage:
    """The page's routes. Only the local operator is known to a page so far."""

    renderer: Renderer

    async def show(self, request: Request, error: str | None = None, status: int = 200) -> Response:
        operator = await operator_of(request)
        if operator is None:
            return self._no_operator()
        services = services_of(request)
        store, whose = services.switch_store, view_of(operator)
        off = await store.newest(whose, limit=MOST_SHOWN)
        ended = [each for each in await store.newest(whose, limit=MOST_SHOWN, ended_too=True) if not each.is_off]
        return self.renderer.page(
            "switches.html",
            current="switches",
            status=status,
            error=error,
            kinds=KINDS,
            off=[each.body() for each in off],
            ended=[each.body() for each in ended[:MOST_ENDED]],
            breakers=[_breaker(each) for each in breakers_of(services, operator)],
        )

    async def post_off(self, request: Request) -> Response:
        """Switch off what the form names; a mistake shows the page again with what to do."""
        fields = await self._fields(request)
        if isinstance(fields, Response):
            return fields
        kind, name, reason = (fields.get(each, "").strip() for each in ("kind", "name", "reason"))
        if kind not in KINDS or not 0 < len(name) <= MOST_NAME or not 0 < len(reason) <= MOST_REASON:
            return await self.show(request, "Say what to switch off: its kind, its name, and why.", 422)
        wanted = SwitchWanted(kind, name, reason, stop_running=fields.get("stop_running") == "yes")
        operator = await operator_of(request)
        if operator is None:
            return self._no_operator()
        try:
            await switch_off(services_of(request), operator, wanted)
        except HandrailError as error:
            return await self.show(request, f"{error.message}.", 409)
        return RedirectResponse("/console/switches", 303)

    async def post_on(self, request: Request) -> Response:
        """Switch on again what the form's address names."""
        fields = await self._fields(request)
        if isinstance(fields, Response):
            return fields
        operator = await operator_of(request)
        if operator is None:
            return self._no_operator()
        reason = fields.get("reason", "").strip()[:MOST_REASON] or None
        try:
            await switch_on(services_of(request), operator, request.path_params["switch_id"], reason)
        except HandrailError as error:
            return await self.show(request, f"{error.message}.", 409)
        return RedirectResponse("/console/switches", 303)

    async def _fields(self, request: Request) -> dict[str, str] | Response:
        """The fields of our own form, without the character zero; of anybody else's a refusal."""
        if not is_same_origin(request):
            reason = "Open the page of switches and decide there."
            return self._refused(403, "This form did not come from this page", reason)
        text = (await request.body())[:MOST_FORM_BYTES].decode(errors="replace")
        return {name: values[-1].replace("\0", "") for name, values in parse_qs(text).items()}

    def _no_operator(self) -> Response:
        return self._refused(
            401,
            "This page can't tell who you are",
            "This server has API keys, and signing in to the console is not there yet. Use `handrail switch list` "
            "on its machine, or the API with a key of role operator.",
        )

    def _refused(self, status: int, title: str, reason: str) -> Response:
        return self.renderer.page("message.html", current="switches", status=status, title=title, reason=reason)


def _breaker(body: dict[str, Any]) -> dict[str, Any]:
    return body | {"is_good": body["state"] == "closed", "said": _STATES[body["state"]]}


def add_routes(app: FastAPI, renderer: Renderer) -> None:
    page = SwitchesPage(renderer)
    app.add_route("/console/switches", page.show, include_in_schema=False)
    app.add_route("/console/switches", page.post_off, methods=["POST"], include_in_schema=False)
    app.add_route("/console/switches/{switch_id}", page.post_on, methods=["POST"], include_in_schema=False)
