"""One HTTP/1.1 connection to a provider: a request, its answer as it comes, then the next request.

By hand over httptools, because this is passed by every token of every answer: a client library takes as much CPU as
the rest of a turn.
"""

import asyncio
from collections.abc import Mapping
from typing import cast

import httptools

MOST_BUFFERED_BYTES = 256 * 1024
MOST_HEAD_BYTES = 64 * 1024


class BrokenConnection(OSError):
    """The connection ended, or what came over it is no HTTP, before the answer was whole."""


class Connection(asyncio.Protocol):
    """Used by one call at a time.

    Attributes:
        status, headers: of the answer that is being read; names are in lower case.
        is_complete: the answer has been received to its end.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpResponseParser(self)
        self._parser.set_dangerous_leniencies(lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True)
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._begins_at = self._ends_at = self._silence_seconds = self._heard_at = 0.0
        self._begin()

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    async def ask(self, request: bytes, *, first_byte_seconds: float, silence_seconds: float, seconds: float) -> None:
        """Send a request and return when its answer has begun.

        Args:
            silence_seconds: between two pieces of the answer; `read` is cut short by it.
            seconds: for the whole answer, reading it included.

        Raises:
            TimeoutError: it did not begin in time.
            BrokenConnection: it never will.
        """
        if self._transport is None:
            raise BrokenConnection("the server closed the connection")
        self._begin()
        now = self._loop.time()
        self._begins_at, self._ends_at, self._silence_seconds = now + first_byte_seconds, now + seconds, silence_seconds
        self._timer = self._loop.call_at(min(self._begins_at, self._ends_at), self._look_at_the_time)
        self._transport.write(request)
        while not (self._has_head or self._error):
            await self._change()
        if self._error is not None:
            raise self._error
        if self._loop.time() + silence_seconds < self._timer.when():
            self._timer.cancel()
            self._look_at_the_time()

    async def read(self) -> bytes:
        """What has come since the last call, waiting for some; nothing at the end of the answer.

        Raises:
            TimeoutError: the answer took longer than it may.
            BrokenConnection: it broke off.
        """
        while not self._body:
            if self.is_complete:
                return b""
            if self._error is not None:
                raise self._error
            await self._change()
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self._body.clear()
        self._buffered = 0
        self._resume()
        return body

    def finish(self) -> bool:
        """The call is over. Whether the connection can take the next one; it is closed when it can't."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.is_complete and self._keeps_alive and self.is_open and self._error is None:
            return True
        self.close()
        return False

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    # what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transport is no asyncio.Transport by inheritance.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._heard_at = self._loop.time()
        if self.is_complete:
            # An answer to nothing: whatever this is, the next request must not take it for its own.
            self._break("sent more than its answer")
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self.is_complete:
                self._break(f"sent what is no HTTP: {error}")
        self._wake()

    def eof_received(self) -> None:
        if self._ends_with_connection:
            self.is_complete = True

    def connection_lost(self, exc: Exception | None) -> None:
        if self._ends_with_connection and exc is None:
            self.is_complete = True
        self._transport = None
        if not self.is_complete:
            self._error = self._error or BrokenConnection(str(exc) if exc else "the server closed the connection")
        self._wake()

    # what the parser calls

    def on_message_begin(self) -> None:
        # A second answer in one read: nobody asked for it.
        self._is_surplus = self.is_complete
        self._keeps_alive = self._keeps_alive and not self._is_surplus

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._is_surplus:
            return
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > MOST_HEAD_BYTES:
            raise BrokenConnection(f"a head of more than {MOST_HEAD_BYTES} bytes")
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status >= 200 and not self._is_surplus:
            self.status, self._has_head = status, True

    def on_body(self, body: bytes) -> None:
        if self._is_surplus:
            return
        self._body.append(body)
        self._buffered += len(body)
        if self._buffered > MOST_BUFFERED_BYTES and self._transport is not None and not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        if self._is_surplus:
            return
        if self._has_head:
            self.is_complete = True
            self._keeps_alive = self._parser.should_keep_alive()
        else:
            # 100 Continue and 103 Early Hints come before the answer.
            self._headers.clear()

    @property
    def headers(self) -> Mapping[str, str]:
        return self._headers

    @property
    def _ends_with_connection(self) -> bool:
        """An answer of no stated length lasts until the server hangs up."""
        is_framed = "content-length" in self._headers or "chunked" in self._headers.get("transfer-encoding", "")
        return self._has_head and not is_framed

    def _begin(self) -> None:
        """A new answer is awaited."""
        self.status = 0
        self.is_complete = False
        self._has_head = False
        self._head_bytes = 0
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._buffered = 0
        self._is_paused = False
        self._is_surplus = False
        self._keeps_alive = True
        self._error: Exception | None = None

    def _look_at_the_time(self) -> None:
        """Time out if it is time to, else look again when it may be: cheaper than a new timer for every token."""
        due_at = self._ends_at
        if not self._has_head:
            due_at = min(due_at, self._begins_at)
        elif not self._is_paused:
            due_at = min(due_at, self._heard_at + self._silence_seconds)
        if due_at <= self._loop.time():
            self._error = self._error or TimeoutError()
            self._wake()
        else:
            self._timer = self._loop.call_at(due_at, self._look_at_the_time)

    def _break(self, why: str) -> None:
        self._error = self._error or BrokenConnection(why)
        self.close()

    async def _change(self) -> None:
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _resume(self) -> None:
        if self._is_paused and self._transport is not None:
            self._is_paused = False
            self._heard_at = self._loop.time()
            self._transport.resume_reading()
