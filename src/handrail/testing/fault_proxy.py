"""A TCP proxy on 127.0.0.1 that fails as networks and providers do, switchable while it runs.

```python
async with FaultProxy(provider_port) as proxy:
    agent_under_test.use(f"http://127.0.0.1:{proxy.port}/v1")
    proxy.fault = Latency(0.2, jitter_seconds=0.1)
    ...  # slow, and it still answers
    proxy.fault = rate_limit_storm(retry_after_seconds=2)
    ...  # waits, or asks another model
    proxy.fault = None
```

A new fault holds from the next bytes on, for connections that are open as well. "An answer" is what comes back
between two sends of the client.
"""

import asyncio
import random
import socket
import struct
from contextlib import suppress
from typing import Self

from handrail.testing.faults import Answer, Fault, HalfOpen, Latency, Refused, Reset, SlowDrip, Truncated

HOST = "127.0.0.1"
CHUNK_BYTES = 65_536


class FaultProxy:
    """Passes bytes on to `127.0.0.1:upstream_port`, through `fault` if one is set.

    Attributes:
        port: where it listens, from `async with` on.
        connections: accepted so far.
    """

    def __init__(self, upstream_port: int, *, port: int = 0, rng: random.Random | None = None) -> None:
        self.upstream_port = upstream_port
        self.port = port
        self.connections = 0
        self.rng = rng or random.Random(0)
        self._fault: Fault | None = None
        self._is_listening = False
        self._listener: socket.socket | None = None
        self._server: asyncio.Server | None = None
        self._links: dict[asyncio.Task[None], _Link] = {}
        self._starting: set[asyncio.Task[None]] = set()

    @property
    def fault(self) -> Fault | None:
        return self._fault

    @fault.setter
    def fault(self, fault: Fault | None) -> None:
        before, self._fault = self._fault, fault
        if isinstance(fault, Refused):
            self._stop()
        elif isinstance(before, Refused):
            self._listen()

    async def __aenter__(self) -> Self:
        self._listen()
        await asyncio.gather(*self._starting)
        if isinstance(self._fault, Refused):
            self._stop()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop()
        await asyncio.gather(*self._starting)
        links = list(self._links)
        for task in links:
            task.cancel()
        await asyncio.gather(*links, return_exceptions=True)

    def _listen(self) -> None:
        """Bound and listening at once: a client that comes before the server has started is kept by the kernel."""
        self._is_listening = True
        # One that is still starting, told to stop and to listen again, need not start twice.
        if self._listener is None:
            self._listener = socket.create_server((HOST, self.port))
            self._listener.setblocking(False)
            self.port = self._listener.getsockname()[1]
            task = asyncio.create_task(self._start(self._listener))
            self._starting.add(task)
            task.add_done_callback(self._starting.discard)

    async def _start(self, listener: socket.socket) -> None:
        self._server = await asyncio.start_server(self._accept, sock=listener)
        if not self._is_listening:
            self._stop()

    def _stop(self) -> None:
        self._is_listening = False
        if self._server is not None:
            self._server.close()
            self._server = self._listener = None
        for link in self._links.values():
            link.abort()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = _Link(self, reader, writer)
        if not self._is_listening:
            link.abort()
            return
        self.connections += 1
        task = asyncio.create_task(link.run())
        self._links[task] = link
        task.add_done_callback(self._links.pop)


class _Link:
    """One client's connection and, once something was sent, ours to the upstream."""

    def __init__(self, proxy: FaultProxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._proxy = proxy
        self._reader = reader
        self._writer = writer
        self._upstream: asyncio.StreamWriter | None = None
        self._answering: asyncio.Task[None] | None = None
        self._answer = bytearray()
        self._is_new_answer = True

    async def run(self) -> None:
        try:
            # A client that has said all may still wait for its answer.
            if await self._requests() and self._answering is not None:
                await self._answering
        except OSError:
            self.abort()
        finally:
            if self._answering is not None:
                self._answering.cancel()
            for writer in (self._writer, self._upstream):
                if writer is not None:
                    writer.close()
                    with suppress(OSError):
                        await writer.wait_closed()

    def abort(self) -> None:
        _reset(self._writer)
        if self._upstream is not None:
            self._upstream.transport.abort()

    async def _requests(self) -> bool:
        """Client to upstream, until the client has said all; `False` when the fault ended it before."""
        while data := await self._reader.read(CHUNK_BYTES):
            fault = self._proxy.fault
            self._answer.clear()
            self._is_new_answer = True
            if isinstance(fault, HalfOpen):
                continue
            if isinstance(fault, Reset) and fault.after_bytes == 0:
                _reset(self._writer)
                return False
            if isinstance(fault, Answer):
                await self._answer_itself(fault, data)
                return False
            await self._forward(data)
        if self._upstream is not None and not self._upstream.is_closing():
            self._upstream.write_eof()
        return True

    async def _forward(self, data: bytes) -> None:
        if self._upstream is None:
            reader, self._upstream = await asyncio.open_connection(HOST, self._proxy.upstream_port)
            self._answering = asyncio.create_task(self._answers(reader))
        self._upstream.write(data)
        await self._upstream.drain()

    async def _answers(self, reader: asyncio.StreamReader) -> None:
        """Upstream to client; ends the connection when the upstream does or the fault says so."""
        with suppress(OSError):
            while data := await reader.read(CHUNK_BYTES):
                if not await self._pass_on(data):
                    return
        # A half-open connection stays silent even when the upstream has hung up.
        if not isinstance(self._proxy.fault, HalfOpen):
            self._writer.close()

    async def _pass_on(self, data: bytes) -> bool:
        fault, writer = self._proxy.fault, self._writer
        if isinstance(fault, HalfOpen):
            return True
        if isinstance(fault, Latency) and self._is_new_answer:
            await asyncio.sleep(max(0.0, fault.seconds + self._proxy.rng.uniform(-1, 1) * fault.jitter_seconds))
        self._is_new_answer = False
        if isinstance(fault, SlowDrip):
            return await self._drip(fault, data)
        if isinstance(fault, Reset | Truncated):
            return await self._cut(fault, data)
        writer.write(data)
        await writer.drain()
        return True

    async def _drip(self, fault: SlowDrip, data: bytes) -> bool:
        for at in range(0, len(data), fault.size):
            if self._proxy.fault is not fault:
                return await self._pass_on(data[at:])
            self._writer.write(data[at : at + fault.size])
            await self._writer.drain()
            await asyncio.sleep(fault.every_seconds)
        return True

    async def _cut(self, fault: Reset | Truncated, data: bytes) -> bool:
        passed = len(self._answer)
        self._answer += data
        end = _end_of(fault, self._answer)
        self._writer.write(data if end is None else data[: max(0, end - passed)])
        await self._writer.drain()
        if end is None:
            return True
        if isinstance(fault, Reset):
            _reset(self._writer)
        else:
            self._writer.close()
        return False

    async def _answer_itself(self, fault: Answer, data: bytes) -> None:
        await self._rest_of_request(data)
        lines = [f"HTTP/1.1 {fault.status} {'OK' if fault.status == 200 else 'Fault'}", "connection: close"]
        headers = {"content-type": "application/json", "content-length": str(len(fault.body)), **fault.headers}
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self._writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + fault.body)
        await self._writer.drain()

    async def _rest_of_request(self, data: bytes) -> None:
        """Read to its end: what is left unread would turn the closing of the connection into a reset."""
        while not _is_whole_request(data):
            more = await self._reader.read(CHUNK_BYTES)
            if not more:
                return
            data += more


def _is_whole_request(data: bytes) -> bool:
    head, found, body = data.partition(b"\r\n\r\n")
    if not found:
        return False
    headers = head.lower()
    if b"transfer-encoding: chunked" in headers:
        return body.endswith(b"0\r\n\r\n")
    _, has_length, rest = headers.partition(b"content-length:")
    return not has_length or len(body) >= int(rest.partition(b"\r\n")[0])


def _end_of(fault: Reset | Truncated, answer: bytes | bytearray) -> int | None:
    """Where the answer is cut, if that much of it has come."""
    if fault.after_bytes is not None:
        return fault.after_bytes if len(answer) >= fault.after_bytes else None
    assert isinstance(fault, Truncated)
    assert fault.after_events is not None
    at = 0
    for _ in range(fault.after_events):
        found = answer.find(b"\n\n", at)
        if found < 0:
            return None
        at = found + 2
    begun = answer.find(b"data:", at)
    return None if begun < 0 else begun + len(b"data:")


def _reset(writer: asyncio.StreamWriter) -> None:
    """RST in place of FIN: what was sent and not read yet is lost, as when a process or a router dies."""
    connection = writer.get_extra_info("socket")
    # Where the connection is gone already, uvloop has no socket to show or says ValueError.
    if connection is not None:
        with suppress(OSError, ValueError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
