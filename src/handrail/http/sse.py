"""Server-sent events over plain ASGI: what is ready goes out in one write, silence is filled with pings."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractContextManager, nullcontext

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from handrail.core import events
from handrail.core.events import Event
from handrail.serving.conversations import encode_sse

PING_SECONDS = 15.0
_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]

_NO_HEADERS: Mapping[str, str] = {}
Encode = Callable[[list[Event]], bytes]


def as_sse(batch: list[Event]) -> bytes:
    """Events as they are, in the wire format."""
    return b"".join([encode_sse(event) for event in batch])


class EventStream(Response):
    """Follows a turn until its last event. A client that leaves ends the response, never the turn.

    Args:
        counted: entered for as long as it is open.
        cut: what is sent in the end when the turn was lost on the way, to clients that can't come back for the rest.
    """

    def __init__(
        self,
        batches: AsyncIterator[list[Event]],
        encode: Encode = as_sse,
        headers: Mapping[str, str] = _NO_HEADERS,
        counted: AbstractContextManager[None] | None = None,
        cut: bytes = b"",
    ) -> None:
        self.cut = cut
        self.counted = counted or nullcontext()
        self.batches = batches
        self.encode = encode
        self.status_code = 200
        self.background = None
        self.raw_headers = [*_HEADERS, *((name.encode(), each.encode()) for name, each in headers.items())]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self.counted:
            await self._follow(send)

    async def _follow(self, send: Send) -> None:
        # A turn that begins takes its first step now; what it says then leaves with the head.
        await asyncio.sleep(0)
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        pings = _Pings(send)
        last = False
        try:
            async for batch in self.batches:
                last = batch[-1].name in events.ENDS_STREAM
                body = self.encode(batch)
                if body or last:
                    await send({"type": "http.response.body", "body": body, "more_body": not last})
        finally:
            pings.stop()
        if not last:
            await send({"type": "http.response.body", "body": self.cut, "more_body": False})


class _Pings:
    """A comment every fifteen seconds, so that proxies keep the connection; a timer costs less than a task."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[None] | None = None
        self._timer = self._loop.call_later(PING_SECONDS, self._ping)

    def stop(self) -> None:
        self._timer.cancel()
        if self._task is not None:
            self._task.cancel()

    def _ping(self) -> None:
        self._task = self._loop.create_task(self._say())
        self._timer = self._loop.call_later(PING_SECONDS, self._ping)

    async def _say(self) -> None:
        await self._send({"type": "http.response.body", "body": b": ping\n\n", "more_body": True})
