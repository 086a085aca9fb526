"""The approvals pages: what waits for a person, one approval with all that was said to it, and the forms to decide."""

from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import quote

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from handrail.console.access import STAFF, Visitor, services_of
from handrail.console.approval_lines import Case, PaceLine, grouped
from handrail.console.door import Door, Fields, last_of
from handrail.console.rendering import Renderer
from handrail.core import json
from handrail.core.errors import HandrailError, NotFound, UsageError
from handrail.core.principal import Principal
from handrail.flows.approval import ApprovalConflict, Picked, decide, decide_identical
from handrail.flows.approval_desk import look_closely, pace, shown_to
from handrail.oversight.approvals import HASTY_SECONDS
from handrail.protection.auth import Scope

MOST_SHOWN = 100
MOST_DECIDED = 20
PACE_DAYS = 30.0
_DECISIONS = ("approve", "reject", "edit", "info")


@dataclass(frozen=True, slots=True)
class ApprovalsPages:
    """The pages' routes; which of the staff may decide what is for each approval's own rules to say."""

    renderer: Renderer

    async def show(self, request: Request, visitor: Visitor) -> Response:
        return await self._list(request, visitor)

    async def show_one(self, request: Request, visitor: Visitor) -> Response:
        return await self._one(request, visitor, request.path_params["approval_id"])

    async def post(self, request: Request, visitor: Visitor, fields: Fields) -> Response:
        """Take the decision of a form; a mistake shows the page again with what to do and what was typed."""
        approval_id = request.path_params["approval_id"]
        try:
            await _decide(request, visitor.principal, approval_id, fields)
        except HandrailError as error:
            status = 409 if isinstance(error, ApprovalConflict) else 422
            if last_of(fields, "from") == "one" and not isinstance(error, NotFound):
                return await self._one(request, visitor, approval_id, f"{error.message}.", status, fields)
            return await self._list(request, visitor, f"{error.message}.", status)
        asked = last_of(fields, "decision") == "info"
        return RedirectResponse(f"/console/approvals/{quote(approval_id)}" if asked else "/console/approvals", 303)

    async def post_together(self, request: Request, visitor: Visitor, fields: Fields) -> Response:
        """Take one decision on the same action asked for several times."""
        pairs = [each.partition(":") for each in fields.get("approval", ())]
        decision = last_of(fields, "decision")
        if decision not in ("approve", "reject"):
            return await self._list(request, visitor, "Press one of the buttons: approve or reject.", 422)
        try:
            outcomes = await decide_identical(
                services_of(request),
                visitor.principal,
                [Picked(approval_id, fingerprint) for approval_id, _, fingerprint in pairs],
                decision,
                last_of(fields, "reason") or None,
            )
        except HandrailError as error:
            return await self._list(request, visitor, f"{error.message}.", 422)
        failed = [each.message for each in outcomes if isinstance(each, HandrailError)]
        if failed:
            text = f"{len(outcomes) - len(failed)} of {len(outcomes)} were decided. The others: {'; '.join(failed)}."
            return await self._list(request, visitor, text, 409)
        return RedirectResponse("/console/approvals", 303)

    async def _list(self, request: Request, visitor: Visitor, error: str | None = None, status: int = 200) -> Response:
        services, principal = services_of(request), visitor.principal
        store = services.approvals
        shown = await shown_to(services, principal, await store.list_pending(principal.tenant_id, limit=MOST_SHOWN))
        newest = await shown_to(services, principal, await store.newest(principal.tenant_id, limit=MOST_SHOWN))
        decided = [Case(each) for each in newest if not each.is_waiting][:MOST_DECIDED]
        speeds = await pace(services, principal, days=PACE_DAYS, hasty_seconds=HASTY_SECONDS)
        return self.renderer.page(
            "approvals.html",
            current="approvals",
            visitor=visitor,
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
        visitor: Visitor,
        approval_id: str,
        error: str | None = None,
        status: int = 200,
        typed: Fields | None = None,
    ) -> Response:
        try:
            case = Case(await look_closely(services_of(request), visitor.principal, approval_id))
        except NotFound as missing:
            return self._missing(visitor, missing)
        typed = typed or {}
        return self.renderer.page(
            "approval.html",
            current="approvals",
            visitor=visitor,
            status=status,
            case=case,
            error=error,
            arguments=last_of(typed, "arguments") or case.arguments_json,
            reason=last_of(typed, "reason"),
            decision=last_of(typed, "decision"),
        )

    def _missing(self, visitor: Visitor, error: NotFound) -> Response:
        title, reason = "There is no such approval", f"{error.message}. The list has what is there."
        return self.renderer.page(
            "message.html", current="approvals", visitor=visitor, status=404, title=title, reason=reason
        )


async def _decide(request: Request, principal: Principal, approval_id: str, fields: Fields) -> None:
    decision = last_of(fields, "decision")
    if decision not in _DECISIONS:
        raise UsageError("press one of the buttons: approve, reject, approve the edit, or ask")
    await decide(
        services_of(request),
        principal,
        approval_id,
        decision,
        fingerprint=last_of(fields, "fingerprint"),
        reason=last_of(fields, "reason") or None,
        arguments=_arguments(last_of(fields, "arguments")) if decision == "edit" else None,
    )


def _arguments(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise UsageError(f"the arguments are not JSON ({error}); mend them") from error
    if not isinstance(value, dict):
        raise UsageError("the arguments are not a JSON object; write them in braces")
    return cast("dict[str, Any]", value)


def add_routes(app: FastAPI, renderer: Renderer) -> None:
    pages, door = ApprovalsPages(renderer), Door(renderer)
    app.add_route(
        "/console/approvals", door.shows("approvals", pages.show, Scope.APPROVALS_READ, *STAFF), include_in_schema=False
    )
    one = "/console/approvals/{approval_id}"
    for path, form in (("/console/approvals/together", pages.post_together), (one, pages.post)):
        app.add_route(
            path,
            door.takes("approvals", form, Scope.APPROVALS_DECIDE, *STAFF),
            methods=["POST"],
            include_in_schema=False,
        )
    app.add_route(one, door.shows("approvals", pages.show_one, Scope.APPROVALS_READ, *STAFF), include_in_schema=False)
