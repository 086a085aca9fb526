"""uvicorn's HTTP protocol with bounded heads and patience; the head of an answer leaves with the body's first piece.

Each write is a system call that wakes the other side, and uvicorn writes the head by itself.
"""

import asyncio
from http import HTTPStatus
from typing import Any, Literal

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from handrail.core import json
from handrail.http.connections import ConnectionLimits, Door
from handrail.http.errors import error_body
from handrail.http.security_headers import MARK_LINE, ONE_LINE, SecurityHeaders

HEAD = b"HTTP/1.1 "
MOST_HEAD_BYTES = 32 * 1024
MOST_HEADERS = 100
# Requests that wait on one connection for the answer before theirs; each costs memory.
MOST_PIPELINED = 16
HEAD_TOO_LARGE = (431, "head_too_large", f"a head has at most {MOST_HEADERS} headers and {MOST_HEAD_BYTES} bytes")
EXTENSIONS: dict[str, dict[object, object]] = {ONE_LINE: {}}


class JoinedHeads:
    """A transport that keeps the head of an answer until more follows, at most to the end of the round.

    Args:
        lines: what stands in a head for the mark of all security headers.
    """

    __slots__ = ("_head", "_lines", "_loop", "_transport", "is_closing", "pause_reading", "resume_reading")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, lines: bytes = b"") -> None:
        self._transport = transport
        # Asked for with every request: the detour by `__getattr__` costs more than the answer.
        self.is_closing = transport.is_closing
        self.pause_reading, self.resume_reading = transport.pause_reading, transport.resume_reading
        self._lines = lines
        self._loop = loop
        self._head = b""

    def write(self, data: bytes) -> None:
        if self._head:
            data, self._head = self._head + data, b""
        elif data.startswith(HEAD):
            # A piece of a body that looks like a head waits for a moment as well, and loses nothing.
            self._head = data.replace(MARK_LINE, self._lines, 1)
            self._loop.call_soon(self._flush)
            return
        self._transport.write(data)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._flush()
        self._transport.set_protocol(protocol)

    def _flush(self) -> None:
        if self._head:
            head, self._head = self._head, b""
            if not self.is_closing():
                self._transport.write(head)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class Protocol(HttpToolsProtocol):
    """What `handrail serve` speaks: bounded heads, and no client that keeps it waiting for long."""

    def __init__(
        self, *given: Any, door: Door | None = None, headers: SecurityHeaders | None = None, **named: Any
    ) -> None:
        super().__init__(*given, **named)
        self.lines = (headers or SecurityHeaders()).lines
        self.door = Door() if door is None else door
        self.peer = ""
        # What is awaited from the client, since when, and how many bytes of a head came in earlier pieces.
        self._awaits: Literal["head", "body", "nothing"] = "head"
        self._since = 0.0
        self._fed = 0
        self._piece = 0
        self._refusal = (400, "invalid_request", "this is not HTTP/1.1")

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] - as uvicorn has it
        super().connection_made(JoinedHeads(transport, self.loop, self.lines))  # pyright: ignore[reportArgumentType] - it stands for one
        self.peer = self.client[0] if self.client else ""
        self._since = self.loop.time()
        if not self.door.admit(self):
            self._refuse(503, "overloaded", "too many connections are open, in all or from this address; close some")

    def connection_lost(self, exc: Exception | None) -> None:
        self.door.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        if self._awaits == "nothing" and not self._is_answering():
            self._await_head()
        self._piece = len(data)
        super().data_received(data)
        if self._awaits == "head":
            self._fed += self._piece
            if self._fed > MOST_HEAD_BYTES:
                self._refuse(*HEAD_TOO_LARGE)

    def handle_websocket_upgrade(self) -> None:
        self.door.leave(self)
        super().handle_websocket_upgrade()

    def on_message_begin(self) -> None:
        if self._awaits == "nothing":
            self._await_head()
        super().on_message_begin()
        self.scope["extensions"] = EXTENSIONS

    def on_headers_complete(self) -> None:
        if len(self.headers) > MOST_HEADERS or (self._fed + self._piece > MOST_HEAD_BYTES and self._is_large()):
            self._refusal = HEAD_TOO_LARGE
            raise ValueError("a head of this size is not read")
        if len(self.pipeline) >= MOST_PIPELINED:
            self.transport.abort()
            raise ValueError("requests come faster than their answers are taken")
        self._awaits = "body"
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._awaits = "nothing"
        super().on_message_complete()

    def on_response_complete(self) -> None:
        self._since = self.loop.time()
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        self._refuse(*self._refusal)

    def waits_since(self) -> float | None:
        """Since when it has been the client's turn."""
        return None if self._awaits == "nothing" and self._is_answering() else self._since

    def patience_seconds(self, limits: ConnectionLimits) -> float | None:
        """Between requests there is time: another timer sees to that."""
        if self._awaits == "nothing":
            return None
        return limits.head_seconds if self._awaits == "head" else limits.body_seconds

    def give_up(self) -> None:
        """Close it; who had begun a request is told."""
        has_begun = self._awaits == "body" or self._fed > 0
        answer = self._last_answer()
        if has_begun and (answer is None or answer.response_complete or not answer.response_started):
            self._refuse(408, "request_timeout", "the request did not come in time; send all of it at once")
        else:
            self.transport.close()

    def _last_answer(self) -> RequestResponseCycle | None:
        # There is none before the first request, whatever its type says.
        return self.cycle

    def _is_answering(self) -> bool:
        answer = self._last_answer()
        return answer is not None and not answer.response_complete

    def _await_head(self) -> None:
        self._awaits, self._since, self._fed = "head", self.loop.time(), 0

    def _is_large(self) -> bool:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers) > MOST_HEAD_BYTES

    def _refuse(self, status: int, code: str, message: str) -> None:
        """Answer before there is a request, and close."""
        if self.transport.is_closing():
            return
        answer = self._last_answer()
        if answer is not None and answer.response_started and not answer.response_complete:
            # What we say now would be read as part of that answer.
            self.transport.abort()
            return
        body = json.dumps(error_body(code, message, status=status)).encode()
        head = (
            b"HTTP/1.1 %d %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n%s\r\n"
            % (status, HTTPStatus(status).phrase.encode(), len(body), self.lines)
        )
        self.transport.write(head + body)
        self.transport.close()
