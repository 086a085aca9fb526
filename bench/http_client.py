"""The cheapest HTTP/1.1 client that can time each piece of an answer: one request at a time on one connection."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from time import perf_counter
from typing import cast

import httptools


@dataclass(slots=True)
class Response:
    """One answer, with the moment each piece of its body arrived."""

    status: int = 0
    headers: dict[bytes, bytes] = field(default_factory=dict[bytes, bytes])
    pieces: list[tuple[float, bytes]] = field(default_factory=list[tuple[float, bytes]])
    sent_at: float = 0.0
    done_at: float = 0.0

    @property
    def body(self) -> bytes:
        return b"".join(data for _, data in self.pieces)


class HttpConnection(asyncio.Protocol):
    """A keep-alive connection to a port of 127.0.0.1, opened at need, and again after the server closed it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._parser: httptools.HttpResponseParser
        self._response = Response()

    async def post(self, path: str, body: bytes, *, accept: str = "application/json") -> Response:
        """Send one request and wait for the whole answer."""
        transport = await self._open()
        self._parser, self._response = httptools.HttpResponseParser(self), Response()
        self._waiter = asyncio.get_running_loop().create_future()
        head = (
            f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1:{self._port}\r\naccept: {accept}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        self._response.sent_at = perf_counter()
        transport.write(head.encode() + body)
        await self._waiter
        return self._response

    def close(self) -> None:
        """Close the connection; harmless when it never opened."""
        if self._transport is not None:
            self._transport.close()

    async def _open(self) -> asyncio.Transport:
        if self._transport is None or self._transport.is_closing():
            await asyncio.get_running_loop().create_connection(lambda: self, "127.0.0.1", self._port)
        assert self._transport is not None
        return self._transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transport is no asyncio.Transport by inheritance.
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._finish(exc or ConnectionResetError(f"port {self._port} closed the connection before its answer ended"))

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._finish(error)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._response.headers[name.lower()] = value

    def on_body(self, body: bytes) -> None:
        self._response.pieces.append((perf_counter(), body))

    def on_message_complete(self) -> None:
        self._response.status = self._parser.get_status_code()
        self._response.done_at = perf_counter()
        self._finish(None)

    def _finish(self, error: Exception | None) -> None:
        if self._waiter is None or self._waiter.done():
            return
        if error is None:
            self._waiter.set_result(None)
        else:
            self._waiter.set_exception(error)
