"""The approvals pages: what waits for a person, one approval with all that was said to it, and the forms to decide."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import parse_qs, quote

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from handrail.console.access import is_same_origin, operator_of, services_of
from handrail.console.approval_lines import Case, PaceLine, grouped
from handrail.console.rendering import Renderer
from handrail.core import json
from handrail.core.errors import HandrailError, NotFound, UsageError
from handrail.core.principal import Principal
from handrail.flows.approval import ApprovalConflict, Picked, decide, decide_identical
from handrail.flows.approval_desk import look_closely, pace, shown_to
from handrail.oversight.approvals import HASTY_SECONDS

MOST_SHOWN = 100
MOST_DECIDED = 20
MOST_FORM_BYTES = 128 * 1024
PACE_DAYS = 30.0
_DECISIONS = ("approve", "reject", "edit", "info")

Fields = Mapping[str, list[str]]


@dataclass(frozen=True, slots=True)
class ApprovalsPages:
    """The pages' routes. Only the local operator is known to a page so far."""

    renderer: Renderer

    async def show(self, request: Request) -> Response:
        principal = await operator_of(request)
        return self._no_operator() if principal is None else await self._list(request, principal)

    async def show_one(self, request: Request) -> Response:
        principal = await operator_of(request)
        if principal is None:
            return self._no_operator()
        return await self._one(request, principal, request.path_params["approval_id"])

    async def post(self, request: Request) -> Response:
        """Take the decision of a form; a mistake shows the page again with what to do and what was typed."""
        principal, fields = await self._form(request)
        if isinstance(principal, Response):
            return principal
        approval_id = request.path_params["approval_id"]
        try:
            await _decide(request, principal, approval_id, fields)
        except HandrailError as error:
            status = 409 if isinstance(error, ApprovalConflict) else 422
            if _last(fields, "from") == "one" and not isinstance(error, NotFound):
                return await self._one(request, principal, approval_id, f"{error.message}.", status, fields)
            return await self._list(request, principal, f"{error.message}.", status)
        asked = _last(fields, "decision") == "info"
        return RedirectResponse(f"/console/approvals/{quote(approval_id)}" if asked else "/console/approvals", 303)

    async def post_together(self, request: Request) -> Response:
        """Take one decision on the same action asked for several times."""
        principal, fields = await self._form(request)
        if isinstance(principal, Response):
            return principal
        pairs = [each.partition(":") for each in fields.get("approval", ())]
        decision = _last(fields, "decision")
        if decision not in ("approve", "reject"):
            return await self._list(request, principal, "Press one of the buttons: approve or reject.", 422)
        try:
            outcomes = await decide_identical(
                services_of(request),
                principal,
                [Picked(approval_id, fingerprint) for approval_id, _, fingerprint in pairs],
                decision,
                _last(fields, "reason") or None,
            )
        except HandrailError as error:
            return await self._list(request, principal, f"{error.message}.", 422)
        failed = [each.message for each in outcomes if isinstance(each, HandrailError)]
        if failed:
            text = f"{len(outcomes) - len(failed)} of {len(outcomes)} were decided. The others: {'; '.join(failed)}."
            return await self._list(request, principal, text, 409)
        return RedirectResponse("/console/approvals", 303)

    async def _list(
        self, request: Request, principal: Principal, error: str | None = None, status: int = 200
    ) -> Response:
        services = services_of(request)
        store = services.approvals
        shown = await shown_to(services, principal, await store.list_pending(principal.tenant_id, limit=MOST_SHOWN))
        newest = await shown_to(services, principal, await store.newest(principal.tenant_id, limit=MOST_SHOWN))
        decided = [Case(each) for each in newest if not each.is_waiting][:MOST_DECIDED]
        speeds = await pace(services, principal, days=PACE_DAYS, hasty_seconds=HASTY_SECONDS)
        return self.renderer.page(
            "approvals.html",
            current="approvals",
            status=status,
            mine=grouped([each for each in shown if each.may_decide]),
            others=[Case(each) for each in shown if not each.may_decide],
            decided=decided,
            pace=[PaceLine.of(each) for each in speeds],
            pace_days=int(PACE_DAYS),
            hasty=f"{HASTY_SECONDS:g}",
            error=error,
        )

    async def _one(
        self,
        request: Request,
        principal: Principal,
        approval_id: str,
        error: str | None = None,
        status: int = 200,
        typed: Fields | None = None,
    ) -> Response:
        try:
            case = Case(await look_closely(services_of(request), principal, approval_id))
        except NotFound as missing:
            return self._refused(404, "There is no such approval", f"{missing.message}. The list has what is there.")
        typed = typed or {}
        return self.renderer.page(
            "approval.html",
            current="approvals",
            status=status,
            case=case,
            error=error,
            arguments=_last(typed, "arguments") or case.arguments_json,
            reason=_last(typed, "reason"),
            decision=_last(typed, "decision"),
        )

    async def _form(self, request: Request) -> tuple[Principal | Response, Fields]:
        """Who sent a form of ours, and its fields; or the page that refuses it."""
        if not is_same_origin(request):
            text = "Open the approvals page and decide there."
            return self._refused(403, "This form did not come from this page", text), {}
        principal = await operator_of(request)
        if principal is None:
            return self._no_operator(), {}
        body = await request.body()
        if len(body) > MOST_FORM_BYTES:
            return self._refused(413, "That is too long", f"A form has at most {MOST_FORM_BYTES} bytes."), {}
        return principal, parse_qs(body.decode(errors="replace"))

    def _no_operator(self) -> Response:
        return self._refused(
            401,
            "This page can't tell who you are",
            "This server has API keys, and signing in to the console is not there yet. Use `handrail approvals list` "
            "on its machine, or with your key: `handrail approvals list --url URL --key KEY`.",
        )

    def _refused(self, status: int, title: str, reason: str) -> Response:
        return self.renderer.page("message.html", current="approvals", status=status, title=title, reason=reason)


async def _decide(request: Request, principal: Principal, approval_id: str, fields: Fields) -> None:
    decision = _last(fields, "decision")
    if decision not in _DECISIONS:
        raise UsageError("press one of the buttons: approve, reject, approve the edit, or ask")
    await decide(
        services_of(request),
        principal,
        approval_id,
        decision,
        fingerprint=_last(fields, "fingerprint"),
        reason=_last(fields, "reason") or None,
        arguments=_arguments(_last(fields, "arguments")) if decision == "edit" else None,
    )


def _arguments(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise UsageError(f"the arguments are not JSON ({error}); mend them") from error
    if not isinstance(value, dict):
        raise UsageError("the arguments are not a JSON object; write them in braces")
    return cast("dict[str, Any]", value)


def _last(fields: Fields, name: str) -> str:
    return fields.get(name, [""])[-1]


def add_routes(app: FastAPI, renderer: Renderer) -> None:
    pages = ApprovalsPages(renderer)
    app.add_route("/console/approvals", pages.show, include_in_schema=False)
    app.add_route("/console/approvals/together", pages.post_together, methods=["POST"], include_in_schema=False)
    app.add_route("/console/approvals/{approval_id}", pages.show_one, include_in_schema=False)
    app.add_route("/console/approvals/{approval_id}", pages.post, methods=["POST"], include_in_schema=False)
