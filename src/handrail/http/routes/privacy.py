"""What a user may ask for by law, all that is stored of them and that it be erased; and a log of nobody."""

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from handrail.core.principal import Role
from handrail.flows.access_request import told_of
from handrail.flows.erasure import erase
from handrail.flows.log_export import LogRequest, anonymised_log
from handrail.http.errors import ApiError, json_response
from handrail.http.openapi import LINES, OF_BODIES, accepts, answers, query, reads
from handrail.http.requests import Name, body_of, services_of, staff_of
from handrail.http.schemas.operations import Erasure
from handrail.protection.auth import Scope

router = APIRouter(prefix="/v1", tags=["privacy"], default_response_class=Response)
_TENANT = "Of another tenant: local operator only."


class ErasureCreate(BaseModel):
    """Whom to erase."""

    model_config = ConfigDict(extra="forbid")

    subject: Name = Field(description="As it stands in their key or token.")
    tenant: Name | None = Field(None, description=_TENANT)


@router.post(
    "/erasures",
    status_code=201,
    openapi_extra=accepts(ErasureCreate),
    responses=answers("what was erased, and what can't be promised", Erasure, 409, *OF_BODIES, status=201),
)
async def create_erasure(request: Request) -> Response:
    """Destroy a user's key, delete all that was said by and to them until now, and keep on record that it was done."""
    admin = await staff_of(request, Scope.SUBJECTS_ERASE, Role.ADMIN)
    body, _ = await body_of(request, ErasureCreate)
    return json_response((await erase(services_of(request), admin, body.subject, body.tenant)).body(), 201)


@router.get(
    "/conversation-log",
    openapi_extra=reads(
        query("agent", "Of this agent only."),
        query("release", "Of this release only."),
        query("since", "Begun from then on.", format="date-time"),
        query("until", "Begun before.", format="date-time"),
        query("k", "What fewer users share is not told.", type="integer", minimum=2, maximum=200, default=5),
        query("words", "`keep` rare words in messages instead of masking them.", enum=["mask", "keep"], default="mask"),
        query("tenant", _TENANT),
    ),
    responses=answers("a header, then a conversation a line", None, 409, 422, also={LINES: None}),
)
async def export_log(request: Request) -> Response:
    """Conversations without their people and without what is rare, as JSON lines."""
    admin = await staff_of(request, Scope.SUBJECTS_READ, Role.ADMIN)
    lines = await anonymised_log(services_of(request), admin, LogRequest.of(request.query_params))
    return StreamingResponse(lines, media_type="application/x-ndjson")


@router.get(
    "/subjects/export",
    openapi_extra=reads(query("subject", "Whose."), query("tenant", _TENANT)),
    responses=answers("all that is stored of them", None, also={LINES: None}),
)
async def export_subject(request: Request) -> Response:
    """All conversations of a user with what was said and done in them, as JSON lines."""
    admin = await staff_of(request, Scope.SUBJECTS_READ, Role.ADMIN)
    subject = request.query_params.get("subject")
    if not subject:
        raise ApiError("invalid_request", "name whose data it shall be with ?subject=...", param="subject")
    lines = await told_of(services_of(request), admin, subject, request.query_params.get("tenant"))
    return StreamingResponse(lines, media_type="application/x-ndjson")
