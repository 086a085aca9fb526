"""Switches and breakers: what is off, what fails, and the operator's word about it."""

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from handrail.core.principal import Role
from handrail.flows.switches import SwitchWanted, breakers_of, doubt, switch_off, switch_on, view_of
from handrail.http.errors import ApiError, json_response
from handrail.http.openapi import OF_BODIES, accepts, answers, query, reads, up_to
from handrail.http.requests import Name, Note, body_of, limit_of, services_of, staff_of
from handrail.http.schemas.operations import BreakerList, Switch, SwitchList, SwitchMade
from handrail.protection.auth import Scope
from handrail.serving.resilience import SwitchKind

router = APIRouter(prefix="/v1", tags=["switches"], default_response_class=Response)
_READERS = (Role.VIEWER, Role.REVIEWER, Role.APPROVER, Role.OPERATOR, Role.ADMIN)


class SwitchCreate(BaseModel):
    """What to switch off, and why."""

    model_config = ConfigDict(extra="forbid")

    kind: SwitchKind
    name: Name
    reason: Note = Field(description="Users of an agent may read it.")
    tenant: Name | None = Field(None, description="Another tenant, or all when left out: local operator only.")
    stop_running: bool = Field(False, description="Cancel turns that run now; otherwise they end by themselves.")


@router.get(
    "/switches",
    openapi_extra=reads(query("status", "What is off, or also what was.", enum=["off", "all"], default="off"), up_to()),
    responses=answers("a list of switches", SwitchList),
)
async def list_switches(request: Request) -> Response:
    """What is off; with `status=all` also what was, newest first."""
    principal = await staff_of(request, Scope.SWITCHES_READ, *_READERS)
    store, status = services_of(request).switch_store, request.query_params.get("status", "off")
    if status not in ("off", "all"):
        raise ApiError("invalid_request", f"status {status!r} is not 'off' or 'all'", param="status")
    found = await store.newest(view_of(principal), limit=limit_of(request), ended_too=status == "all")
    return json_response({"data": [each.body() for each in found], "next_cursor": None})


@router.post(
    "/switches",
    status_code=201,
    openapi_extra=accepts(SwitchCreate),
    responses=answers("the switch", SwitchMade, 404, 409, *OF_BODIES, status=201),
)
async def create_switch(request: Request) -> Response:
    """Switch a tool, model, agent, tenant or release off, on every replica within a second.

    `warning` says so when no loaded release knows the tool or model; the switch holds all the same.
    """
    operator = await staff_of(request, Scope.SWITCHES_WRITE, Role.OPERATOR, Role.ADMIN)
    body, _ = await body_of(request, SwitchCreate)
    services = services_of(request)
    made = await switch_off(services, operator, SwitchWanted(**body.model_dump()))
    return json_response(made.body() | {"warning": await doubt(services, operator, made)}, 201)


@router.delete(
    "/switches/{switch_id}",
    openapi_extra=reads(query("reason", "Why; up to 500 characters of it are kept.")),
    responses=answers("the switch, ended", Switch, 404),
)
async def end_switch(request: Request, switch_id: str) -> Response:
    """Switch it on again; `reason` in the query is kept."""
    operator = await staff_of(request, Scope.SWITCHES_WRITE, Role.OPERATOR, Role.ADMIN)
    reason = request.query_params.get("reason")
    ended = await switch_on(services_of(request), operator, switch_id, reason[:500] if reason else None)
    return json_response(ended.body())


@router.get("/breakers", responses=answers("a list of breakers", BreakerList))
async def list_breakers(request: Request) -> Response:
    """The breakers of the process that answers, by key."""
    principal = await staff_of(request, Scope.SWITCHES_READ, *_READERS)
    return json_response({"data": breakers_of(services_of(request), principal), "next_cursor": None})
