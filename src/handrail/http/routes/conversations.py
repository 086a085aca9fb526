"""Conversations and their turns."""

import asyncio
from functools import partial
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from handrail.core.principal import Principal, Role
from handrail.flows.admission import follow_turn
from handrail.flows.audit import listed_by_staff, read_by_staff
from handrail.flows.cancel import cancel_turn
from handrail.flows.conversations import open_conversation
from handrail.flows.search import search_words
from handrail.flows.services import Services
from handrail.flows.shown import shown_of, written
from handrail.flows.turn import take_turn
from handrail.flows.veil import veil_of, veil_of_turn
from handrail.http.errors import json_response
from handrail.http.openapi import (
    CURSOR,
    EVENTS,
    IDEMPOTENCY_KEY,
    OF_BODIES,
    accepts,
    answers,
    header,
    query,
    reads,
    up_to,
)
from handrail.http.requests import (
    Name,
    body_of,
    followers_of,
    idempotency_of,
    last_event_of,
    limit_of,
    note_rate,
    overhead_header,
    principal_of,
    rate_headers_of,
    services_of,
)
from handrail.http.routes.search import found_body
from handrail.http.schemas.conversations import Conversation, ConversationList, ConversationWithMessages, StreamedEvent
from handrail.http.schemas.conversations import Turn as TurnBody
from handrail.http.sse import EventStream
from handrail.protection.auth import Scope
from handrail.reports.conversations import ConversationFilters
from handrail.serving.conversations import Turn, conversation_body, message_body, stored_turn_body

router = APIRouter(prefix="/v1", tags=["conversations"], default_response_class=Response)
SOUGHT = query("q", 'Words that were said, all of them, or "words in a row"; identifiers are not found by it.')
_STAFF = (Role.VIEWER, Role.REVIEWER, Role.APPROVER, Role.OPERATOR, Role.ADMIN)


class ConversationCreate(BaseModel):
    """Begin a conversation."""

    model_config = ConfigDict(extra="forbid")

    agent: Name | None = Field(None, description="Which agent; the only one of the server when left out.")


class TurnCreate(BaseModel):
    """One message of the user."""

    model_config = ConfigDict(extra="forbid", strict=True)

    message: str = Field(description="The user's words.")


@router.post(
    "/conversations",
    status_code=201,
    openapi_extra=accepts(ConversationCreate, IDEMPOTENCY_KEY),
    responses=answers("a conversation", Conversation, 404, *OF_BODIES, status=201),
)
async def create_conversation(request: Request) -> Response:
    """Begin a conversation with an agent, pinned to its stable release."""
    principal = await principal_of(request, Scope.CONVERSATIONS_WRITE)
    body, raw = await body_of(request, ConversationCreate)
    services = services_of(request)
    key = idempotency_of(request, "conversations", raw)
    conversation = await open_conversation(services, principal, body.agent, idempotency=key)
    return json_response(conversation_body(conversation), 201)


@router.get(
    "/conversations",
    openapi_extra=reads(CURSOR, up_to(), SOUGHT),
    responses=answers("a list of conversations", ConversationList),
)
async def list_conversations(request: Request) -> Response:
    """The caller's own conversations, newest first; staff see all of their tenant. Pages by `cursor` and `limit`.

    With `q`, those in which it was said, each with the text around it (`match`).
    """
    principal = await principal_of(request, Scope.CONVERSATIONS_READ)
    limit, services, everyone = limit_of(request), services_of(request), principal.has_role(*_STAFF)
    before, sought = request.query_params.get("cursor"), request.query_params.get("q")
    if sought is not None:
        filters = ConversationFilters(principal.tenant_id, subject=None if everyone else principal.subject)
        hits = await search_words(services, principal, filters, sought, cursor=before, limit=limit)
        return json_response(await found_body(services, principal, hits))
    found = await services.conversations.newest(principal, everyone=everyone, before=before, limit=limit)
    if everyone:
        listed_by_staff(services, principal)
    cursor = found[-1].id if len(found) == limit else None
    data = [
        veil_of(services, principal, each.tenant_id, each.id, each.subject).over(conversation_body(each))
        for each in found
    ]
    return json_response({"data": data, "next_cursor": cursor})


@router.get(
    "/conversations/{conversation_id}",
    responses=answers("a conversation with its messages", ConversationWithMessages, 404),
)
async def get_conversation(request: Request, conversation_id: str) -> Response:
    """A conversation with its newest 200 messages, oldest first."""
    principal = await principal_of(request, Scope.CONVERSATIONS_READ)
    services = services_of(request)
    conversation = await services.conversations.require(principal, conversation_id)
    read_by_staff(services, principal, conversation)
    messages = await services.conversations.messages(conversation, limit=200)
    body: dict[str, Any] = conversation_body(conversation)
    body["messages"] = [message_body(message) for message in messages]
    if any(message.tool_calls for message in messages):
        shown = await shown_of(services, conversation.tenant_id, conversation.release_id)
        for call in (call for message in body["messages"] for call in message["tool_calls"]):
            call["arguments"] = written(shown, call["arguments"])
    body["awaiting"] = conversation.awaiting.kind if conversation.awaiting else None
    veil = veil_of(services, principal, conversation.tenant_id, conversation.id, conversation.subject)
    # Two hundred long messages take seconds of looking: not on the loop.
    return json_response(await asyncio.to_thread(veil.over, body) if veil.hides else body)


@router.post(
    "/conversations/{conversation_id}/turns",
    openapi_extra=accepts(TurnCreate, IDEMPOTENCY_KEY),
    responses=answers("a turn, or its events", TurnBody, 404, 409, *OF_BODIES, also={EVENTS: StreamedEvent}),
)
async def create_turn(request: Request, conversation_id: str) -> Response:
    """Send a message. The answer comes as JSON when it is complete, or as events with `Accept: text/event-stream`."""
    principal = await principal_of(request, Scope.TURNS_WRITE)
    body, raw = await body_of(request, TurnCreate)
    stream = await take_turn(
        services_of(request),
        principal,
        conversation_id,
        body.message,
        idempotency=idempotency_of(request, f"turns:{conversation_id}", raw),
        on_rate=partial(note_rate, request),
    )
    headers = rate_headers_of(request)
    if "text/event-stream" in request.headers.get("accept", ""):
        return EventStream(stream.batches(), headers=headers | {"x-handrail-turn-id": stream.turn_id})
    result = await stream.wait()
    return json_response(result, headers=headers | overhead_header(result))


@router.get("/turns/{turn_id}", responses=answers("a turn", TurnBody, 404))
async def get_turn(request: Request, turn_id: str) -> Response:
    """A turn as it stands."""
    principal = await principal_of(request, Scope.CONVERSATIONS_READ)
    services = services_of(request)
    turn = await services.conversations.require_turn(principal, turn_id)
    return json_response(await _stored_body(services, principal, turn))


async def _stored_body(services: Services, principal: Principal, turn: Turn) -> dict[str, Any]:
    messages = await services.conversations.turn_messages(turn.tenant_id, turn.id)
    answer = next((each for each in reversed(messages) if each.role == "assistant" and not each.tool_calls), None)
    return (await veil_of_turn(services, principal, turn)).over(stored_turn_body(turn, answer))


@router.get(
    "/turns/{turn_id}/events",
    openapi_extra=reads(header("Last-Event-ID", "The last event that was seen, `<epoch>.<seq>`.")),
    responses=answers("the turn's events", None, 404, also={EVENTS: StreamedEvent}),
)
async def turn_events(request: Request, turn_id: str) -> Response:
    """Replay a turn's events from `Last-Event-ID` and follow it live; nothing is lost, whatever the client missed."""
    principal = await principal_of(request, Scope.CONVERSATIONS_READ)
    followers = followers_of(request)
    followers.require(principal.tenant_id, principal.subject)
    batches = await follow_turn(services_of(request), principal, turn_id, last_event_of(request))
    return EventStream(batches, counted=followers.one(principal.tenant_id, principal.subject))


@router.post("/turns/{turn_id}/cancel", responses=answers("the turn", TurnBody, 404, 409))
async def cancel(request: Request, turn_id: str) -> Response:
    """Stop a turn that runs or waits. What was said so far stays in the transcript."""
    principal = await principal_of(request, Scope.TURNS_WRITE)
    services = services_of(request)
    turn = await cancel_turn(services, principal, turn_id)
    return json_response(await _stored_body(services, principal, turn))
