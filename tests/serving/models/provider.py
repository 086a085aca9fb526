"""A provider on a real socket that answers with exactly the bytes a test wants, at the moments it wants."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Self

import orjson

SSE_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Received:
    path: str
    headers: dict[str, str]
    body: dict[str, Any]


class Wire:
    """The provider's end of one call."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def head(self) -> None:
        await self.send(SSE_HEAD)

    async def chunk(self, data: bytes) -> None:
        await self.send(b"%x\r\n%b\r\n" % (len(data), data))

    async def say(self, *events: object) -> None:
        await self.chunk(b"".join(map(sse, events)))

    async def done(self) -> None:
        await self.chunk(b"data: [DONE]\n\n")
        await self.send(END)

    async def body(self, status: int, body: bytes, *headers: str, content_type: str = "application/json") -> None:
        lines = [
            f"HTTP/1.1 {status} Whatever",
            f"content-type: {content_type}",
            f"content-length: {len(body)}",
            *headers,
        ]
        await self.send("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    def reset(self) -> None:
        self._writer.transport.abort()

    async def gone(self) -> None:
        """Waits until the client has closed the connection."""
        with contextlib.suppress(ConnectionError):
            await self._reader.read()


Handler = Callable[[Wire], Awaitable[None]]


class Provider:
    """`async with Provider(handler) as provider`: every call is answered by `handler`."""

    def __init__(self, handler: Handler) -> None:
        self.received: list[Received] = []
        self.called = asyncio.Event()
        self.connections = 0
        self._handler = handler
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}/v1"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while not writer.is_closing():
                self.received.append(await _request(reader))
                self.called.set()
                await self._handler(Wire(reader, writer))
        self._tasks.discard(task)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def _request(reader: asyncio.StreamReader) -> Received:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    first, *lines = head.strip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers["content-length"]))
    return Received(first.split()[1], headers, orjson.loads(body))


def sse(event: object) -> bytes:
    data = event if isinstance(event, bytes) else orjson.dumps(event)
    return b"data: " + data + b"\n\n"


def text(content: str, **more: Any) -> dict[str, Any]:
    return delta({"content": content}, **more)


def delta(delta: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"model": "fine-2026", "choices": [{"index": 0, "delta": delta, "finish_reason": None}], **more}


def finish(reason: str = "stop", **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {}, "finish_reason": reason}], **more}


def tool(index: int | None, id: str | None = None, name: str | None = None, arguments: Any = None) -> dict[str, Any]:
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    call = {key: value for key, value in (("index", index), ("id", id), ("function", function)) if value is not None}
    return delta({"tool_calls": [call]})
