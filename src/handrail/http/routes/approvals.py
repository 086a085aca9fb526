"""Approvals: what waits for people, and their decisions."""

from typing import Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from handrail.core.errors import NotFound
from handrail.core.principal import Role
from handrail.flows.approval import decide
from handrail.http.errors import ApiError, json_response
from handrail.http.openapi import accepts, answers
from handrail.http.requests import body_of, limit_of, services_of, staff_of

router = APIRouter(prefix="/v1", tags=["approvals"])
_READERS = (Role.VIEWER, Role.REVIEWER, Role.APPROVER, Role.OPERATOR, Role.ADMIN)


class DecisionMade(BaseModel):
    """What a person decides, about the call with this fingerprint and no other."""

    model_config = ConfigDict(extra="forbid")

    decision: Literal["approve", "reject", "edit", "info"] = Field(
        description="`edit` approves other arguments; `info` asks a question and decides nothing."
    )
    fingerprint: str = Field(min_length=1, max_length=200, description="As it was shown.")
    reason: str | None = Field(None, max_length=2000, description="The agent sees why it was rejected.")
    arguments: dict[str, Any] | None = Field(None, description="With `edit`: the whole new arguments.")


@router.get("/approvals", responses=answers("a list of approvals", 401, 403))
async def list_approvals(request: Request) -> Response:
    """What waits, oldest first; with `status=all` every approval, newest first. Pages by `cursor` and `limit`."""
    principal = await staff_of(request, *_READERS)
    store, limit = services_of(request).approvals, limit_of(request)
    status, cursor = request.query_params.get("status", "pending"), request.query_params.get("cursor")
    if status == "pending":
        found = await store.list_pending(principal.tenant_id, cursor=cursor, limit=limit)
    elif status == "all":
        found = await store.newest(principal.tenant_id, before=cursor, limit=limit)
    else:
        raise ApiError("invalid_request", f"status {status!r} is not 'pending' or 'all'", param="status")
    now = await store.now()
    next_cursor = found[-1].id if len(found) == limit else None
    return json_response({"data": [each.body(now) for each in found], "next_cursor": next_cursor})


@router.get("/approvals/{approval_id}", responses=answers("an approval with its votes", 401, 403, 404))
async def get_approval(request: Request, approval_id: str) -> Response:
    """One approval and what people said to it."""
    principal = await staff_of(request, *_READERS)
    seen = await services_of(request).approvals.look(principal.tenant_id, approval_id)
    if seen is None:
        raise NotFound(f"there is no approval {approval_id!r}", param="approval_id")
    return json_response(seen.approval.body(seen.at) | {"votes": [each.body() for each in seen.votes]})


@router.post(
    "/approvals/{approval_id}/decision",
    openapi_extra=accepts(DecisionMade),
    responses=answers("the approval", 401, 403, 404, 409, 422),
)
async def decide_approval(request: Request, approval_id: str) -> Response:
    """Approve, reject, approve with other arguments, or ask. A second decision gets 409."""
    # Which of the staff may decide it, by role or team, is for the approval's own rules to say.
    principal = await staff_of(request, *_READERS)
    body, _ = await body_of(request, DecisionMade)
    services = services_of(request)
    decided = await decide(
        services,
        principal,
        approval_id,
        body.decision,
        fingerprint=body.fingerprint,
        reason=body.reason,
        arguments=body.arguments,
    )
    return json_response(decided.body(await services.approvals.now()))
