"""The approvals page: what waits for a person, and the forms to decide it."""

import json
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import parse_qs

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from handrail.console.access import is_same_origin, operator_of, services_of
from handrail.console.rendering import Renderer
from handrail.core.errors import HandrailError
from handrail.flows.approval import Decision, decide

MOST_SHOWN = 100
MOST_FORM_BYTES = 64 * 1024
_DECISIONS = ("approve", "reject")


@dataclass(frozen=True, slots=True)
class ApprovalsPage:
    """The page's routes. Only the local operator is known to a page so far."""

    renderer: Renderer

    async def show(self, request: Request, error: str | None = None, status: int = 200) -> Response:
        principal = await operator_of(request)
        if principal is None:
            return self._no_operator()
        store = services_of(request).approvals
        now = await store.now()
        pending = await store.list_pending(principal.tenant_id, limit=MOST_SHOWN)
        waiting = [_view(each.body(now), each.expires_at - now) for each in pending]
        newest = await store.newest(principal.tenant_id, limit=MOST_SHOWN)
        decided = [each for each in (one.body(now) for one in newest) if each["status"] != "pending"]
        return self.renderer.page(
            "approvals.html", current="approvals", status=status, waiting=waiting, decided=decided[:20], error=error
        )

    async def post(self, request: Request) -> Response:
        """Take the decision of a form; a mistake shows the page again with what to do."""
        if not is_same_origin(request):
            return self._refused(
                403, "This form did not come from this page", "Open the approvals page and decide there."
            )
        principal = await operator_of(request)
        if principal is None:
            return self._no_operator()
        body = await request.body()
        fields = {
            name: values[-1] for name, values in parse_qs(body[:MOST_FORM_BYTES].decode(errors="replace")).items()
        }
        decision = fields.get("decision", "")
        if decision not in _DECISIONS:
            return await self.show(request, "Press one of the buttons: approve or reject.", 422)
        try:
            await decide(
                services_of(request),
                principal,
                request.path_params["approval_id"],
                cast(Decision, decision),
                fingerprint=fields.get("fingerprint", ""),
                reason=fields.get("reason"),
            )
        except HandrailError as error:
            return await self.show(request, f"{error.message}.", 409)
        return RedirectResponse("/console/approvals", 303)

    def _no_operator(self) -> Response:
        return self._refused(
            401,
            "This page can't tell who you are",
            "This server has API keys, and signing in to the console is not there yet. Use `handrail approvals list` "
            "on its machine, or the API with a key of role approver.",
        )

    def _refused(self, status: int, title: str, reason: str) -> Response:
        return self.renderer.page("message.html", current="approvals", status=status, title=title, reason=reason)


def _view(body: dict[str, Any], left_micros: int) -> dict[str, Any]:
    return body | {
        "shown": json.dumps(body["arguments"], indent=2, ensure_ascii=False),
        "minutes_left": max(0, left_micros // 60_000_000),
        "action": body["tool"].replace("_", " "),
    }


def add_routes(app: FastAPI, renderer: Renderer) -> None:
    page = ApprovalsPage(renderer)
    app.add_route("/console/approvals", page.show, include_in_schema=False)
    app.add_route("/console/approvals/{approval_id}", page.post, methods=["POST"], include_in_schema=False)
