"""The audit log, for those who answer for it: search it, and take it away whole to be checked elsewhere."""

from collections.abc import AsyncIterator
from dataclasses import replace

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from handrail.core.principal import Role
from handrail.flows.audit_desk import AuditDesk, Filter
from handrail.http.errors import json_response
from handrail.http.openapi import CURSOR, LINES, answers, query, reads, up_to
from handrail.http.requests import limit_of, services_of, staff_of
from handrail.http.schemas.operations import AuditLine, AuditRecordList, CheckpointList
from handrail.protection.auth import Scope

router = APIRouter(prefix="/v1", tags=["audit"], default_response_class=Response)
_FILTERS = ("action", "actor", "target", "outcome", "since", "until", "cursor", "tenant")


@router.get(
    "/audit",
    openapi_extra=reads(
        query("action", "Of this action."),
        query("actor", "Of this person, by name."),
        query("target", "About this."),
        query("outcome", "With this outcome."),
        query("since", "From this time on.", format="date-time"),
        query("until", "Before this time.", format="date-time"),
        query("tenant", "Of another tenant: local operator only."),
        CURSOR,
        up_to(),
    ),
    responses=answers("records of the audit log", AuditRecordList),
)
async def search_audit(request: Request) -> Response:
    """Records, newest first; `action`, `actor`, `target`, `outcome`, `since` and `until` narrow them."""
    principal = await staff_of(request, Scope.AUDIT_READ, Role.ADMIN)
    query = request.query_params
    given = {name: query[name] for name in _FILTERS if name in query}
    desk = AuditDesk(services_of(request), principal)
    found = await desk.search(replace(Filter.of(given), limit=limit_of(request)))
    return json_response(found)


@router.get("/audit/export", responses=answers("the log", None, also={LINES: AuditLine}))
async def export_audit(request: Request) -> Response:
    """The whole log with its checkpoints and public keys, as JSON lines; other tenants' records as hashes only."""
    principal = await staff_of(request, Scope.AUDIT_READ, Role.ADMIN)
    lines = AuditDesk(services_of(request), principal).export()

    async def encoded() -> AsyncIterator[bytes]:
        async for line in lines:
            yield line.encode() + b"\n"

    return StreamingResponse(encoded(), media_type="application/x-ndjson")


@router.get("/audit/checkpoints", responses=answers("signed checkpoints", CheckpointList))
async def list_checkpoints(request: Request) -> Response:
    """The newest signed checkpoint, to be kept where nobody who holds the database can reach it."""
    principal = await staff_of(request, Scope.AUDIT_READ, Role.ADMIN)
    newest = await AuditDesk(services_of(request), principal).newest_checkpoint()
    return json_response({"data": [newest] if newest else [], "next_cursor": None})
