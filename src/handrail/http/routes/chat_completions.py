"""The OpenAI-shaped endpoints, so that existing clients work: the model is the agent.

What a client sends is never instructions, a tool result, a confirmation or an approval: the last user message is the
turn, earlier messages of a new conversation are kept as untrusted context.
"""

import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Literal

import orjson
from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from handrail.core import events
from handrail.core.errors import NotFound
from handrail.core.events import Event
from handrail.core.messages import Message
from handrail.core.principal import Principal
from handrail.flows.conversations import open_conversation
from handrail.flows.services import Services
from handrail.flows.turn import take_turn
from handrail.http.errors import ApiError, error_body, json_response
from handrail.http.openapi import EVENTS, IDEMPOTENCY_KEY, OF_BODIES, accepts, answers, header
from handrail.http.requests import (
    Name,
    body_of,
    idempotency_of,
    note_rate,
    overhead_header,
    principal_of,
    rate_headers_of,
    services_of,
)
from handrail.http.schemas.conversations import ChatCompletion, ModelList, StreamedChunk
from handrail.http.sse import EventStream
from handrail.protection.auth import Scope

BEGINS_ANEW = "\n\n(My answer broke off. I begin it again.)\n\n"
router = APIRouter(prefix="/v1", tags=["OpenAI-compatible"], default_response_class=Response)
CONVERSATION_HEADER = "x-handrail-conversation-id"
MOST_EARLIER = 40
_DONE = b"data: [DONE]\n\n"


class ContentPart(BaseModel):
    model_config = ConfigDict(extra="ignore")

    type: str
    text: str | None = None


class ChatMessage(BaseModel):
    model_config = ConfigDict(extra="ignore")

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[ContentPart] | None = None

    def text(self) -> str:
        if isinstance(self.content, list):
            other = next((part.type for part in self.content if part.type != "text"), None)
            if other is not None:
                raise ApiError(
                    "invalid_request", f"content of type {other!r} is not supported; send text", param="messages"
                )
            return "".join(part.text or "" for part in self.content)
        return self.content or ""


class StreamOptions(BaseModel):
    model_config = ConfigDict(extra="ignore")

    include_usage: bool = False


class ChatRequest(BaseModel):
    """A chat completion request; sampling parameters belong to the agent's release and are ignored."""

    model_config = ConfigDict(extra="ignore")

    model: Name = Field(description="The agent's name.")
    messages: list[ChatMessage] = Field(min_length=1)
    stream: bool = False
    stream_options: StreamOptions | None = None
    tools: list[Any] | None = None
    functions: list[Any] | None = None
    n: int | None = None


@router.get("/models", responses=answers("the agents, as models", ModelList))
async def list_models(request: Request) -> Response:
    """The agents that can be talked to."""
    principal = await principal_of(request, Scope.AGENTS_READ)
    agents = await services_of(request).releases.agents(principal.tenant_id)
    data = [
        {"id": each.name, "object": "model", "created": each.updated_at // 1_000_000, "owned_by": "handrail"}
        for each in agents
    ]
    return json_response({"object": "list", "data": data})


@router.post(
    "/chat/completions",
    openapi_extra=accepts(
        ChatRequest, IDEMPOTENCY_KEY, header(CONVERSATION_HEADER, "Continues this conversation.", maxLength=200)
    ),
    responses=answers("a chat completion", ChatCompletion, 404, 409, *OF_BODIES, also={EVENTS: StreamedChunk}),
)
async def create_chat_completion(request: Request) -> Response:
    """One turn, in the shape of a chat completion. `x-handrail-conversation-id` continues a conversation."""
    principal = await principal_of(request, Scope.TURNS_WRITE)
    body, raw = await body_of(request, ChatRequest)
    message, earlier = _read(body)
    services = services_of(request)
    conversation_id = request.headers.get(CONVERSATION_HEADER)
    # Without a place nothing is stored, no conversation either.
    async with services.admission.admit(principal.tenant_id) as place:
        if conversation_id is None:
            # The key belongs to the turn too, so a repeated request must find the conversation of the first.
            key = idempotency_of(request, "chat:", raw)
            conversation = await open_conversation(services, principal, body.model, channel="openai", idempotency=key)
            conversation_id = conversation.id
        else:
            await _require_with(services, principal, conversation_id, body.model)
            earlier = []
        key = idempotency_of(request, f"turns:{conversation_id}", raw)
        stream = await take_turn(
            services,
            principal,
            conversation_id,
            message,
            idempotency=key,
            earlier=earlier,
            place=place,
            on_rate=partial(note_rate, request),
        )
    headers = rate_headers_of(request) | {CONVERSATION_HEADER: conversation_id}
    if body.stream:
        usage = bool(body.stream_options and body.stream_options.include_usage)
        return EventStream(stream.batches(), _Chunks(stream.turn_id, body.model, usage), headers, cut=_lost())
    result = await stream.wait()
    return _completion(result, body.model, headers)


async def _require_with(services: Services, principal: Principal, conversation_id: str, agent: str) -> None:
    """The conversation must be with the agent that the request names."""
    conversation = await services.conversations.require(principal, conversation_id)
    if conversation.agent != agent:
        raise NotFound(
            f"conversation {conversation_id!r} is with agent {conversation.agent!r}, not {agent!r}", param="model"
        )


def _read(body: ChatRequest) -> tuple[str, list[Message]]:
    """The turn's message and what the client says came before it."""
    if body.tools or body.functions:
        raise ApiError(
            "invalid_request", "tools come with the agent's release; leave 'tools' out of the request", param="tools"
        )
    if body.n not in (None, 1):
        raise ApiError("invalid_request", f"one answer a request: n = {body.n!r} is not supported", param="n")
    if any(message.role in ("tool", "function") for message in body.messages):
        raise ApiError(
            "invalid_request",
            "tool results come from the agent's own tools; leave 'tool' messages out",
            param="messages",
        )
    last = body.messages[-1]
    if last.role != "user":
        raise ApiError(
            "invalid_request", f"the last message must be the user's, not of role {last.role!r}", param="messages"
        )
    earlier = [
        Message("assistant" if message.role == "assistant" else "user", text, "client")
        for message in body.messages[:-1]
        if message.role in ("user", "assistant") and (text := message.text()).strip()
    ]
    text = last.text()
    if not text.strip():
        # Refused here, before a conversation is opened for it.
        raise ApiError("invalid_message", "the last message is empty; write what you want to ask", param="messages")
    return text, earlier[-MOST_EARLIER:]


def _completion(result: Mapping[str, Any], model: str, headers: dict[str, str]) -> Response:
    message = result["message"]
    body = {
        "id": f"chatcmpl-{result['id']}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": message["content"] if message else ""},
                "finish_reason": "stop",
            }
        ],
        "usage": _usage(result),
    }
    return json_response(body, headers=headers | overhead_header(result))


def _usage(result: Mapping[str, Any]) -> dict[str, Any]:
    usage = result.get("usage") or {}
    given, made = usage.get("input_tokens") or 0, usage.get("output_tokens") or 0
    return {
        "prompt_tokens": given,
        "completion_tokens": made,
        "total_tokens": given + made,
        "overhead_ms": result.get("overhead_ms"),
    }


def _lost() -> bytes:
    """This protocol has no way to come back for the rest of an answer that goes on elsewhere."""
    return (
        _data(
            error_body(
                "internal",
                "the turn was lost here and may go on elsewhere; send the request again with the same Idempotency-Key",
            )
        )
        + _DONE
    )


class _Chunks:
    """Encodes a turn's events as chunks of a chat completion."""

    def __init__(self, turn_id: str, model: str, include_usage: bool) -> None:
        self._head = {
            "id": f"chatcmpl-{turn_id}",
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": model,
        }
        self._include_usage = include_usage
        self._begun = False
        self._sent = ""

    def __call__(self, batch: list[Event]) -> bytes:
        out: list[bytes] = []
        if not self._begun:
            self._begun = True
            out.append(_data(self._head | {"choices": [_choice({"role": "assistant", "content": ""})]}))
        for event in batch:
            out.extend(self._chunk(event))
        if batch[-1].name in events.ENDS_STREAM:
            out.append(_DONE)
        return b"".join(out)

    def _chunk(self, event: Event) -> Sequence[bytes]:
        if event.name == events.MESSAGE_DELTA:
            return self._text(event.data["text"])
        if event.name == events.MESSAGE_RESTARTED:
            return self._restarted(event.data["text"])
        if event.name not in events.ENDS_STREAM:
            return ()
        if not event.data.get("message"):
            return [_data(error_body("internal", "the turn failed and could not be stored; send it again"))]
        out = [_data({**self._head, "choices": [_choice({}, "stop")]})]
        if self._include_usage:
            out.append(_data({**self._head, "choices": [], "usage": _usage(event.data)}))
        return out

    def _restarted(self, text: str) -> Sequence[bytes]:
        """A client that fell behind has the beginning of this text; else the answer begins anew.

        What was sent can't be taken back in this protocol, so it is said.
        """
        if text.startswith(self._sent):
            return self._text(text[len(self._sent) :])
        chunks = self._text(f"{BEGINS_ANEW}{text}")
        self._sent = text
        return chunks

    def _text(self, text: str) -> list[bytes]:
        self._sent += text
        return [_data({**self._head, "choices": [_choice({"content": text})]})] if text else []


def _choice(delta: Mapping[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "finish_reason": finish_reason}


def _data(body: Mapping[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(body) + b"\n\n"
