"""The agents of this server and their releases."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from handrail.core.clock import iso
from handrail.http.errors import json_response
from handrail.http.openapi import answers
from handrail.http.requests import principal_of, services_of
from handrail.http.schemas.operations import AgentList
from handrail.protection.auth import Scope

router = APIRouter(prefix="/v1", tags=["agents"], default_response_class=Response)


@router.get("/agents", responses=answers("a list of agents", AgentList))
async def list_agents(request: Request) -> Response:
    """The agents of the caller's tenant and the release that answers new conversations."""
    principal = await principal_of(request, Scope.AGENTS_READ)
    agents = await services_of(request).releases.agents(principal.tenant_id)
    data = [
        {"name": each.name, "object": "agent", "release_id": each.stable_release_id, "updated_at": iso(each.updated_at)}
        for each in agents
    ]
    return json_response({"data": data, "next_cursor": None})
