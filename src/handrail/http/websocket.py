"""The same turns and events over a WebSocket, one conversation a connection.

Client: `{"type": "turn.create" | "turn.cancel" | "resume", "data": {...}}`. Server: `{"id", "event", "data"}`.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Literal

import orjson
from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.websockets import WebSocket, WebSocketDisconnect

from handrail.core.errors import HandrailError
from handrail.core.events import Event
from handrail.core.principal import Principal
from handrail.flows.admission import follow_turn
from handrail.flows.audit import read_by_staff
from handrail.flows.cancel import cancel_turn
from handrail.flows.turn import take_turn
from handrail.http.errors import ApiError, error_body, note_denial
from handrail.http.requests import (
    MOST_KEY_CHARACTERS,
    NO_ZERO,
    Name,
    followers_of,
    parse_event_id,
    principal_of,
    require_bounded,
    services_of,
)
from handrail.protection.auth import Scope
from handrail.protection.rate_limits import decide
from handrail.serving.conversations import IdempotencyScope

router = APIRouter()
MOST_FRAME_BYTES = 256 * 1024
MOST_FOLLOWED = 32
FRAMES_AT_ONCE = 50
FRAME_SECONDS = 0.1
POLICY_VIOLATION, TRY_AGAIN_LATER = 1008, 1013


class Frame(BaseModel):
    model_config = ConfigDict(extra="forbid")

    type: Literal["turn.create", "turn.cancel", "resume"]
    data: dict[str, Any] = Field(default_factory=dict)


class Create(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    message: str
    idempotency_key: str | None = Field(None, min_length=1, max_length=MOST_KEY_CHARACTERS, pattern=NO_ZERO)


class Cancel(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    turn_id: Name


class Resume(Cancel):
    last_event_id: str | None = None


@router.websocket("/v1/conversations/{conversation_id}/ws")
async def conversation_socket(socket: WebSocket, conversation_id: str) -> None:
    """Refused before it opens when the caller may not see the conversation."""
    services = services_of(socket)
    try:
        principal = await principal_of(socket, Scope.TURNS_WRITE, Scope.CONVERSATIONS_READ)
        conversation = await services.conversations.require(principal, conversation_id)
        followers = followers_of(socket)
        followers.require(principal.tenant_id, principal.subject)
        read_by_staff(services, principal, conversation)
    except HandrailError as error:
        note_denial(socket, error)
        await socket.close(TRY_AGAIN_LATER if error.retryable else POLICY_VIOLATION, error.code)
        return
    with followers.one(principal.tenant_id, principal.subject):
        await socket.accept()
        connection = _Connection(socket, principal, conversation_id)
        try:
            await connection.serve()
        finally:
            await connection.close()


class Pace:
    """How fast the frames of one socket are taken: who sends faster is read later, and nothing is lost."""

    def __init__(self) -> None:
        self._full_at = 0.0

    def wait_seconds(self, now: float) -> float:
        """How long the frame that came now has to wait."""
        decision, full_at = decide(self._full_at, now, FRAME_SECONDS, FRAMES_AT_ONCE)
        self._full_at = full_at if decision.allowed else full_at + FRAME_SECONDS
        return decision.retry_after_seconds


class _Connection:
    """Reads frames and runs one forwarder a followed turn."""

    def __init__(self, socket: WebSocket, principal: Principal, conversation_id: str) -> None:
        self._socket = socket
        self._services = services_of(socket)
        self._principal = principal
        self._conversation_id = conversation_id
        self._forwarders: set[asyncio.Task[None]] = set()
        self._sending = asyncio.Lock()
        self._pace = Pace()

    async def serve(self) -> None:
        while True:
            message = await self._socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            if wait := self._pace.wait_seconds(asyncio.get_running_loop().time()):
                await asyncio.sleep(wait)
            try:
                await self._take(message.get("text"))
            except HandrailError as error:
                note_denial(self._socket, error)
                code = error.api_code if isinstance(error, ApiError) else error.code
                body = error_body(code, error.message, param=error.param)
                if error.retry_after_seconds is not None:
                    body["error"]["retry_after_seconds"] = error.retry_after_seconds
                await self._send({"id": None, "event": "error", "data": body})
            except ValidationError as error:
                first = error.errors(include_url=False)[0]
                message = f"{'.'.join(map(str, first['loc'])) or 'frame'}: {first['msg']}"
                await self._send({"id": None, "event": "error", "data": error_body("invalid_body", message)})

    async def close(self) -> None:
        for task in self._forwarders:
            task.cancel()

    async def _take(self, text: str | None) -> None:
        if text is None:
            raise ApiError("invalid_request", "send frames of text, JSON in UTF-8; binary frames mean nothing here")
        content = text.encode()
        if len(content) > MOST_FRAME_BYTES:
            raise ApiError("body_too_large", f"a frame has at most {MOST_FRAME_BYTES} bytes")
        require_bounded(content)
        frame = Frame.model_validate_json(content)
        if frame.type == "turn.create":
            wanted = Create.model_validate(frame.data)
            scope = None
            if wanted.idempotency_key:
                scope = IdempotencyScope(
                    f"turns:{self._conversation_id}", wanted.idempotency_key, wanted.message.encode()
                )
            stream = await take_turn(
                self._services, self._principal, self._conversation_id, wanted.message, idempotency=scope
            )
            self._forward(stream.batches())
        elif frame.type == "turn.cancel":
            await cancel_turn(self._services, self._principal, await self._own(Cancel.model_validate(frame.data)))
        else:
            resume = Resume.model_validate(frame.data)
            turn_id = await self._own(resume)
            after = parse_event_id(resume.last_event_id)
            self._require_room()
            self._forward(await follow_turn(self._services, self._principal, turn_id, after))

    async def _own(self, wanted: Cancel) -> str:
        """The turn must be one of this socket's conversation."""
        turn = await self._services.conversations.require_turn(self._principal, wanted.turn_id)
        if turn.conversation_id != self._conversation_id:
            raise ApiError("not_found", f"turn {wanted.turn_id!r} is not of this conversation", param="turn_id")
        return turn.id

    def _require_room(self) -> None:
        if len(self._forwarders) >= MOST_FOLLOWED:
            raise ApiError("invalid_request", f"a socket follows at most {MOST_FOLLOWED} turns at once; wait for one")

    def _forward(self, batches: AsyncIterator[list[Event]]) -> None:
        task = asyncio.get_running_loop().create_task(self._send_all(batches))
        self._forwarders.add(task)
        task.add_done_callback(self._forwarders.discard)

    async def _send_all(self, batches: AsyncIterator[list[Event]]) -> None:
        try:
            async for batch in batches:
                for event in batch:
                    await self._send({"id": event.id, "event": event.name, "data": event.data})
        except (WebSocketDisconnect, RuntimeError):
            return

    async def _send(self, body: Any) -> None:
        async with self._sending:
            await self._socket.send_text(orjson.dumps(body).decode())
