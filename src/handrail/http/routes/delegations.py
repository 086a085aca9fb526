"""Delegations: an approver lets somebody else decide in their place for a while."""

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from handrail.core.principal import Role
from handrail.flows.delegation import delegate, revoke_delegation
from handrail.http.errors import json_response
from handrail.http.openapi import OF_BODIES, accepts, answers
from handrail.http.requests import Name, Note, body_of, services_of, staff_of
from handrail.http.schemas.approvals import Delegation, DelegationList
from handrail.oversight.approvals import MOST_DAYS
from handrail.protection.auth import Scope

router = APIRouter(prefix="/v1", tags=["approvals"], default_response_class=Response)
_STAFF = (Role.VIEWER, Role.REVIEWER, Role.APPROVER, Role.OPERATOR, Role.ADMIN)


class DelegationCreate(BaseModel):
    """Who decides in the caller's place, and for how long."""

    model_config = ConfigDict(extra="forbid")

    to: Name = Field(description="The delegate's subject, as their key has it.")
    days: float = Field(description=f"From now on; at most {MOST_DAYS}.")
    reason: Note | None = None


@router.post(
    "/delegations",
    status_code=201,
    openapi_extra=accepts(DelegationCreate),
    responses=answers("a delegation", Delegation, *OF_BODIES, status=201),
)
async def create_delegation(request: Request) -> Response:
    """Let somebody else decide what the caller may decide. It can't be handed on, and never covers own requests."""
    principal = await staff_of(request, Scope.APPROVALS_DECIDE, *_STAFF)
    body, _ = await body_of(request, DelegationCreate)
    services = services_of(request)
    made = await delegate(services, principal, body.to, days=body.days, reason=body.reason)
    return json_response(made.body(await services.approvals.now()), 201)


@router.get("/delegations", responses=answers("a list of delegations", DelegationList))
async def list_delegations(request: Request) -> Response:
    """The tenant's newest 200 delegations, newest first; those that are over stay in the list."""
    principal = await staff_of(request, Scope.APPROVALS_READ, *_STAFF)
    services = services_of(request)
    found, now = await services.approvals.delegations.list(principal.tenant_id), await services.approvals.now()
    return json_response({"data": [each.body(now) for each in found], "next_cursor": None})


@router.delete("/delegations/{delegation_id}", responses=answers("the delegation", Delegation, 404))
async def delete_delegation(request: Request, delegation_id: str) -> Response:
    """Revoke a delegation: the lender's own, or any for operators. Votes given under it stay."""
    principal = await staff_of(request, Scope.APPROVALS_DECIDE, *_STAFF)
    services = services_of(request)
    revoked = await revoke_delegation(services, principal, delegation_id)
    return json_response(revoked.body(await services.approvals.now()))
