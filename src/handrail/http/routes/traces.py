"""How turns went, for the people of the deployment."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from handrail.core.principal import Role
from handrail.flows.trace_desk import traces_by_id, traces_of_conversation, traces_of_turn
from handrail.http.errors import json_response
from handrail.http.openapi import answers
from handrail.http.requests import services_of, staff_of
from handrail.http.schemas.traces import TraceList
from handrail.protection.auth import Scope

router = APIRouter(prefix="/v1", tags=["traces"], default_response_class=Response)
_READERS = (Role.VIEWER, Role.REVIEWER, Role.APPROVER, Role.OPERATOR, Role.ADMIN)


@router.get("/traces/{trace_id}", responses=answers("the turns of a trace", TraceList, 404))
async def get_trace(request: Request, trace_id: str) -> Response:
    """All turns that belong to a trace (W3C), oldest first, each with its spans from top to bottom."""
    principal = await staff_of(request, Scope.INSIGHT_READ, *_READERS)
    found = await traces_by_id(services_of(request), principal, trace_id)
    return json_response({"data": found, "next_cursor": None})


@router.get("/turns/{turn_id}/traces", responses=answers("the traces of a turn", TraceList, 404))
async def get_traces_of_turn(request: Request, turn_id: str) -> Response:
    """One turn's, oldest first: several when it waited for people or changed its process."""
    principal = await staff_of(request, Scope.INSIGHT_READ, *_READERS)
    found = await traces_of_turn(services_of(request), principal, turn_id)
    return json_response({"data": found, "next_cursor": None})


@router.get(
    "/conversations/{conversation_id}/traces", responses=answers("the traces of a conversation", TraceList, 404)
)
async def get_traces_of_conversation(request: Request, conversation_id: str) -> Response:
    """The newest two hundred of a conversation, newest first."""
    principal = await staff_of(request, Scope.INSIGHT_READ, *_READERS)
    found = await traces_of_conversation(services_of(request), principal, conversation_id)
    return json_response({"data": found, "next_cursor": None})
