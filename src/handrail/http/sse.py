"""Server-sent events over plain ASGI: what is ready goes out in one write, silence is filled with pings."""

import asyncio
from collections.abc import AsyncIterator, Sequence

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from handrail.core.events import Event
from handrail.serving.conversations import encode_sse

PING_SECONDS = 15.0
_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]


class EventStream(Response):
    """Sends batches of bytes until they end. A client that leaves ends the response, never the turn."""

    def __init__(self, chunks: AsyncIterator[bytes], headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
        self.chunks = chunks
        self.status_code = 200
        self.background = None
        self.raw_headers = [*_HEADERS, *headers]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        pings = asyncio.get_running_loop().create_task(_ping(send))
        try:
            async for chunk in self.chunks:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        finally:
            pings.cancel()
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def as_sse(batches: AsyncIterator[list[Event]]) -> AsyncIterator[bytes]:
    """Events in the wire format, one chunk a batch."""
    async for batch in batches:
        yield b"".join([encode_sse(event) for event in batch])


async def _ping(send: Send) -> None:
    while True:
        await asyncio.sleep(PING_SECONDS)
        await send({"type": "http.response.body", "body": b": ping\n\n", "more_body": True})
