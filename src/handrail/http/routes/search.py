"""Conversations by what was said in them; identifiers come in a body, so that they stand in no address."""

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from handrail.core.errors import NotFound
from handrail.core.principal import Principal
from handrail.flows.search import Found, search_identifier
from handrail.flows.services import Services
from handrail.flows.veil import veil_of
from handrail.http.errors import json_response
from handrail.http.openapi import OF_BODIES, accepts, answers
from handrail.http.requests import body_of, principal_of, services_of
from handrail.http.schemas.conversations import ConversationList
from handrail.protection.auth import Scope
from handrail.reports.conversations import ConversationFilters
from handrail.serving.conversations import conversation_body

router = APIRouter(prefix="/v1", tags=["conversations"], default_response_class=Response)


class IdentifierSearch(BaseModel):
    """Look for an identifier in whatever way it is written."""

    model_config = ConfigDict(extra="forbid", strict=True)

    identifier: str = Field(
        min_length=1,
        max_length=500,
        description="An e-mail address, phone or card number, IBAN, SSN, IP address or key.",
    )
    cursor: str | None = Field(None, description="`next_cursor` of the page before.")
    limit: int = Field(50, ge=1, le=200, description="How many at most.")


@router.post(
    "/conversations/search",
    openapi_extra=accepts(IdentifierSearch),
    responses=answers("a list of conversations", ConversationList, *OF_BODIES),
)
async def find_identifier(request: Request) -> Response:
    """Conversations in which an identifier stands, newest first; for who may read identifiers. It is not on record."""
    principal = await principal_of(request, Scope.CONVERSATIONS_READ, Scope.PERSONAL_READ)
    body, _ = await body_of(request, IdentifierSearch)
    services, filters = services_of(request), ConversationFilters(principal.tenant_id)
    found = await search_identifier(services, principal, filters, body.identifier, cursor=body.cursor, limit=body.limit)
    return json_response(await found_body(services, principal, found))


async def found_body(services: Services, principal: Principal, found: Found) -> dict[str, Any]:
    """What was found as a page of a list; a conversation that was erased meanwhile is left out."""
    data: list[dict[str, Any]] = []
    for hit in found.hits:
        try:
            each = await services.conversations.find(principal.tenant_id, hit.conversation_id)
        except NotFound:
            continue
        veil = veil_of(services, principal, each.tenant_id, each.id, each.subject)
        match = [{"text": part.text, "is_found": part.is_found} for part in hit.parts]
        data.append({**veil.over(conversation_body(each)), "match": match})
    looked = {
        "opened": found.opened,
        "is_cut": found.is_cut,
        "waiting": found.waiting.count,
        "left_out": list(found.query.left_out),
        "has_identifier": found.has_identifier,
    }
    return {"data": data, "next_cursor": found.next_cursor, "search": looked}
