"""The audit log, for those who answer for it: search it, and take it away whole to be checked elsewhere."""

from collections.abc import AsyncIterator
from dataclasses import replace

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from handrail.core.principal import Role
from handrail.flows.audit_desk import AuditDesk, Filter
from handrail.http.errors import json_response
from handrail.http.openapi import answers
from handrail.http.requests import limit_of, services_of, staff_of

router = APIRouter(prefix="/v1", tags=["audit"])
_FILTERS = ("action", "actor", "target", "outcome", "since", "until", "cursor", "tenant")


@router.get("/audit", responses=answers("records of the audit log", 401, 403))
async def search_audit(request: Request) -> Response:
    """Records, newest first; `action`, `actor`, `target`, `outcome`, `since` and `until` narrow them."""
    principal = await staff_of(request, Role.ADMIN)
    query = request.query_params
    given = {name: query[name] for name in _FILTERS if name in query}
    desk = AuditDesk(services_of(request), principal)
    found = await desk.search(replace(Filter.of(given), limit=limit_of(request)))
    return json_response(found)


@router.get("/audit/export", responses=answers("the log as JSON lines", 401, 403))
async def export_audit(request: Request) -> Response:
    """The whole log with its checkpoints and public keys, as JSON lines; other tenants' records as hashes only."""
    principal = await staff_of(request, Role.ADMIN)
    lines = AuditDesk(services_of(request), principal).export()

    async def encoded() -> AsyncIterator[bytes]:
        async for line in lines:
            yield line.encode() + b"\n"

    return StreamingResponse(encoded(), media_type="application/x-ndjson")


@router.get("/audit/checkpoints", responses=answers("signed checkpoints", 401, 403))
async def list_checkpoints(request: Request) -> Response:
    """The newest signed checkpoint, to be kept where nobody who holds the database can reach it."""
    principal = await staff_of(request, Role.ADMIN)
    newest = await AuditDesk(services_of(request), principal).newest_checkpoint()
    return json_response({"data": [newest] if newest else [], "next_cursor": None})
