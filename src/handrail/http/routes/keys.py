"""API keys and sign-in links, for admins and the local operator."""

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from handrail.core.principal import Role
from handrail.flows.keys import KeyWanted, make_key, tenant_of
from handrail.flows.keys import revoke_key as revoke
from handrail.flows.keys import rotate_key as rotate
from handrail.flows.sign_in import EVERYTHING, FIRST_OPERATOR, LinkWanted, make_link
from handrail.http.errors import json_response
from handrail.http.openapi import OF_BODIES, accepts, answers, query, reads
from handrail.http.requests import NO_ZERO, Name, Note, body_of, local_operator_of, services_of, staff_of
from handrail.http.schemas.operations import CreatedKey, Key, KeyList, SignInLink
from handrail.protection.auth import Scope

router = APIRouter(prefix="/v1", tags=["keys"], default_response_class=Response)
_TENANT = query("tenant", "Of another tenant: local operator only.")


class KeyCreate(BaseModel):
    """A key for one principal."""

    model_config = ConfigDict(extra="forbid")

    subject: Name
    role: Role = Role.END_USER
    tenant: str | None = Field(
        None, min_length=1, max_length=100, pattern=NO_ZERO, description="Another tenant: local operator only."
    )
    scopes: list[Scope] = Field(
        default_factory=list, description="What the key is narrowed to; all that its role allows when left out."
    )
    expires_in_days: int | None = Field(None, ge=1, le=3650)
    note: Note | None = None
    teams: list[Name] = Field(
        default_factory=list, max_length=20, description="Teams whose approvals this principal may decide."
    )


class KeyRotate(BaseModel):
    """How to go over to a new key."""

    model_config = ConfigDict(extra="forbid")

    grace_seconds: int = Field(86_400, ge=0, le=30 * 86_400, description="How long the old key goes on.")


class LinkCreate(BaseModel):
    """A link that signs somebody of the staff in to the console."""

    model_config = ConfigDict(extra="forbid")

    subject: Name = FIRST_OPERATOR
    roles: list[Role] = Field(default=list(EVERYTHING), min_length=1, max_length=5)
    tenant: Name = "default"


@router.post(
    "/keys",
    status_code=201,
    openapi_extra=accepts(KeyCreate),
    responses=answers("a key, shown once", CreatedKey, *OF_BODIES, status=201),
)
async def create_key(request: Request) -> Response:
    """Make a key. Its text is in this answer and nowhere else."""
    operator = await staff_of(request, Scope.KEYS_WRITE, Role.ADMIN)
    body, _ = await body_of(request, KeyCreate)
    created = await make_key(services_of(request), operator, KeyWanted(**body.model_dump()))
    return json_response(created.body(), 201)


@router.get("/keys", openapi_extra=reads(_TENANT), responses=answers("a list of keys without their secrets", KeyList))
async def list_keys(request: Request) -> Response:
    """The tenant's keys, without their secrets."""
    operator = await staff_of(request, Scope.KEYS_READ, Role.ADMIN)
    found = await services_of(request).keys.list(tenant_of(operator, request.query_params.get("tenant")))
    return json_response({"data": [key.body() for key in found], "next_cursor": None})


@router.delete("/keys/{key_id}", openapi_extra=reads(_TENANT), responses=answers("the revoked key", Key, 404))
async def revoke_key(request: Request, key_id: str) -> Response:
    """Revoke a key; it stops working everywhere within seconds."""
    operator = await staff_of(request, Scope.KEYS_WRITE, Role.ADMIN)
    services = services_of(request)
    tenant = tenant_of(operator, request.query_params.get("tenant"))
    revoked = await revoke(services, operator, tenant, key_id)
    return json_response(revoked.body())


@router.post(
    "/keys/{key_id}/rotate",
    status_code=201,
    openapi_extra=accepts(KeyRotate, _TENANT),
    responses=answers("the new key, shown once", CreatedKey, 400, 404, 409, *OF_BODIES, status=201),
)
async def rotate_key(request: Request, key_id: str) -> Response:
    """Replace a key by a new one for the same principal; the old one goes on for the grace."""
    operator = await staff_of(request, Scope.KEYS_WRITE, Role.ADMIN)
    body, _ = await body_of(request, KeyRotate)
    tenant = tenant_of(operator, request.query_params.get("tenant"))
    made = await rotate(services_of(request), operator, tenant, key_id, body.grace_seconds)
    return json_response(made.body(), 201)


@router.post(
    "/sign-in-links",
    status_code=201,
    openapi_extra=accepts(LinkCreate),
    responses=answers("a link, shown once", SignInLink, *OF_BODIES, status=201),
)
async def create_link(request: Request) -> Response:
    """Make a link that signs somebody in to the console, once and within ten minutes: local operator only."""
    operator = await local_operator_of(request)
    body, _ = await body_of(request, LinkCreate)
    made = await make_link(services_of(request), operator, LinkWanted(**body.model_dump()))
    return json_response(made.body(), 201)
