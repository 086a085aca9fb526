import asyncio
import random
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from handrail.testing import (
    Answer,
    Fault,
    FaultProxy,
    HalfOpen,
    Latency,
    Refused,
    Reset,
    SlowDrip,
    Truncated,
    malformed_json,
    rate_limit_storm,
    server_error,
)

REQUEST = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\n{  }"
EVENTS = b"data: one\n\ndata: two\n\ndata: three\n\n"
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
ANSWER = HEAD + EVENTS


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    """Servers run on uvloop, tests on either."""
    return "asyncio", {"use_uvloop": request.param}


@pytest.fixture(autouse=True)
def nothing_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """What goes wrong in a callback of the loop is logged and raised nowhere."""
    yield
    assert [record.getMessage() for record in caplog.records] == []


class Upstream:
    """Answers every send with `ANSWER` and keeps the connection; counts what it was sent."""

    def __init__(self) -> None:
        self.received: list[bytes] = []
        self.ended = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            self.received.append(data)
            writer.write(ANSWER)
            await writer.drain()
        self.ended.set()
        writer.close()


@asynccontextmanager
async def proxied(fault: Fault | None = None) -> AsyncIterator[tuple[FaultProxy, Upstream]]:
    upstream = Upstream()
    server = await asyncio.start_server(upstream.serve, "127.0.0.1", 0)
    async with FaultProxy(server.sockets[0].getsockname()[1], rng=random.Random(7)) as proxy:
        proxy.fault = fault
        yield proxy, upstream
    server.close()
    await asyncio.wait_for(server.wait_closed(), 5)


class Client:
    """A raw client of the proxy."""

    def __init__(self, proxy: FaultProxy) -> None:
        self._proxy = proxy

    async def __aenter__(self) -> "Client":
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self._proxy.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.transport.abort()

    async def ask(self) -> bytes:
        """One request, and as many bytes as the whole answer has."""
        self.writer.write(REQUEST)
        return await asyncio.wait_for(self.reader.readexactly(len(ANSWER)), 5)

    async def ask_to_end(self) -> bytes:
        """One request, and everything until the connection is closed."""
        self.writer.write(REQUEST)
        return await asyncio.wait_for(self.reader.read(), 5)

    async def hears_nothing(self, seconds: float = 0.1) -> bool:
        try:
            await asyncio.wait_for(self.reader.read(1), seconds)
        except TimeoutError:
            return True
        return False


class TestWithoutFault:
    async def test_passes_requests_and_answers_on(self):
        async with proxied() as (proxy, upstream), Client(proxy) as client:
            assert await client.ask() == ANSWER
            assert await client.ask() == ANSWER
            assert upstream.received == [REQUEST, REQUEST]
            assert proxy.connections == 1

    async def test_a_client_that_has_said_all_still_gets_its_answer(self):
        async with proxied() as (proxy, _), Client(proxy) as client:
            client.writer.write(REQUEST)
            client.writer.write_eof()
            assert await asyncio.wait_for(client.reader.read(), 5) == ANSWER

    async def test_the_upstream_learns_that_the_client_is_gone(self):
        async with proxied() as (proxy, upstream):
            async with Client(proxy) as client:
                await client.ask()
            await asyncio.wait_for(upstream.ended.wait(), 5)

    async def test_an_upstream_that_is_not_there_resets_the_client(self):
        async with FaultProxy(1) as proxy, Client(proxy) as client:
            with pytest.raises(ConnectionResetError):
                await client.ask_to_end()


class TestLatency:
    async def test_delays_the_begin_of_each_answer(self):
        async with proxied(Latency(0.1)) as (proxy, _), Client(proxy) as client:
            for _ in range(2):
                began = time.monotonic()
                assert await client.ask() == ANSWER
                assert time.monotonic() - began >= 0.1

    async def test_jitter_makes_answers_differ(self):
        async with proxied(Latency(0.05, jitter_seconds=0.05)) as (proxy, _), Client(proxy) as client:
            took: list[float] = []
            for _ in range(4):
                began = time.monotonic()
                await client.ask()
                took.append(time.monotonic() - began)
            assert max(took) - min(took) > 0.02


class TestRefused:
    async def test_connections_are_refused_and_open_ones_reset_until_it_is_lifted(self):
        async with proxied() as (proxy, _):
            async with Client(proxy) as client:
                await client.ask()
                proxy.fault = Refused()
                with pytest.raises(ConnectionResetError):
                    await asyncio.wait_for(client.reader.read(), 5)
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", proxy.port)
            proxy.fault = None
            async with Client(proxy) as client:
                assert await client.ask() == ANSWER

    async def test_holds_from_the_start_when_it_was_set_before(self):
        proxy = FaultProxy(1)
        proxy.fault = Refused()
        async with proxy:
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", proxy.port)

    async def test_can_be_switched_back_and_forth_without_a_pause(self):
        async with proxied() as (proxy, _):
            for _ in range(3):
                proxy.fault = Refused()
                proxy.fault = None
            async with Client(proxy) as client:
                assert await client.ask() == ANSWER
            for _ in range(3):
                proxy.fault = None
                proxy.fault = Refused()
            await asyncio.sleep(0.05)
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", proxy.port)


class TestReset:
    async def test_resets_before_the_request_gets_through(self):
        async with proxied(Reset()) as (proxy, upstream), Client(proxy) as client:
            with pytest.raises(ConnectionResetError):
                await client.ask_to_end()
            assert upstream.received == []

    async def test_resets_in_the_middle_of_an_answer(self):
        async with proxied(Reset(after_bytes=20)) as (proxy, upstream), Client(proxy) as client:
            with pytest.raises(ConnectionResetError):
                await client.ask_to_end()
            assert upstream.received == [REQUEST]


class TestHalfOpen:
    async def test_accepts_and_never_answers_nor_closes(self):
        async with proxied(HalfOpen()) as (proxy, upstream), Client(proxy) as client:
            client.writer.write(REQUEST)
            assert await client.hears_nothing()
            assert upstream.received == []

    async def test_silences_a_connection_that_was_open_before(self):
        async with proxied() as (proxy, _), Client(proxy) as client:
            await client.ask()
            proxy.fault = HalfOpen()
            client.writer.write(REQUEST)
            assert await client.hears_nothing()


class TestSlowDrip:
    async def test_gives_an_answer_in_small_pieces(self):
        async with proxied(SlowDrip(size=10, every_seconds=0.01)) as (proxy, _), Client(proxy) as client:
            began = time.monotonic()
            client.writer.write(REQUEST)
            assert len(await client.reader.read(65536)) == 10
            rest = await client.reader.readexactly(len(ANSWER) - 10)
            assert ANSWER.endswith(rest)
            assert time.monotonic() - began >= 0.01 * (len(ANSWER) // 10 - 1)

    async def test_the_rest_comes_at_once_when_it_is_lifted(self):
        async with proxied(SlowDrip(size=1, every_seconds=0.5)) as (proxy, _), Client(proxy) as client:
            client.writer.write(REQUEST)
            await client.reader.readexactly(1)
            proxy.fault = None
            began = time.monotonic()
            await asyncio.wait_for(client.reader.readexactly(len(ANSWER) - 1), 5)
            assert time.monotonic() - began < 2


class TestTruncated:
    @pytest.mark.parametrize("size", [0, 1, 30, len(ANSWER) - 1])
    async def test_closes_after_so_many_bytes(self, size: int):
        async with proxied(Truncated(after_bytes=size)) as (proxy, _), Client(proxy) as client:
            assert await client.ask_to_end() == ANSWER[:size]

    async def test_closes_in_the_middle_of_the_event_after_the_last_whole_one(self):
        async with proxied(Truncated(after_events=2)) as (proxy, _), Client(proxy) as client:
            assert await client.ask_to_end() == HEAD + b"data: one\n\ndata: two\n\ndata:"

    async def test_counts_each_answer_of_a_connection_alone(self):
        async with proxied() as (proxy, _), Client(proxy) as client:
            await client.ask()
            proxy.fault = Truncated(after_bytes=30)
            assert await client.ask_to_end() == ANSWER[:30]

    @pytest.mark.parametrize("both", [{}, {"after_bytes": 1, "after_events": 1}])
    def test_needs_to_know_where(self, both: dict[str, int]):
        with pytest.raises(ValueError, match="one of the two"):
            Truncated(**both)


class TestAnswer:
    async def test_a_rate_limit_storm_answers_429_with_when_to_come_back(self):
        async with proxied(rate_limit_storm(retry_after_seconds=2.5)) as (proxy, upstream):
            for _ in range(3):
                async with Client(proxy) as client:
                    said = await client.ask_to_end()
                    assert said.startswith(b"HTTP/1.1 429 ")
                    assert b"\r\nretry-after: 2.5\r\n" in said
            assert upstream.received == []

    async def test_a_server_error_answers_500(self):
        async with proxied(server_error()) as (proxy, _), Client(proxy) as client:
            said = await client.ask_to_end()
            assert said.startswith(b"HTTP/1.1 500 ")
            assert b"retry-after" not in said

    async def test_malformed_json_is_cut_and_still_a_whole_http_answer(self):
        async with proxied(malformed_json()) as (proxy, _), Client(proxy) as client:
            head, _, body = (await client.ask_to_end()).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 OK")
            assert f"content-length: {len(body)}".encode() in head
            assert body.endswith(b'"hel')

    async def test_takes_over_a_connection_that_talked_to_the_upstream(self):
        async with proxied() as (proxy, upstream), Client(proxy) as client:
            await client.ask()
            proxy.fault = server_error(503)
            assert (await client.ask_to_end()).startswith(b"HTTP/1.1 503 ")
            assert upstream.received == [REQUEST]

    @pytest.mark.parametrize(
        "pieces",
        [
            [REQUEST[:10], REQUEST[10:50], REQUEST[50:]],
            [b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n", b"3\r\nabc\r\n", b"0\r\n\r\n"],
        ],
    )
    async def test_reads_a_request_that_comes_in_pieces_to_its_end(self, pieces: list[bytes]):
        async with proxied(Answer(418, b"{}")) as (proxy, _), Client(proxy) as client:
            for piece in pieces:
                client.writer.write(piece)
                await client.writer.drain()
                await asyncio.sleep(0.01)
            assert (await asyncio.wait_for(client.reader.read(), 5)).endswith(b"\r\n\r\n{}")


class TestClose:
    @pytest.mark.parametrize("fault", [None, HalfOpen(), Latency(60), SlowDrip(1, 60), Refused()])
    async def test_leaves_nothing_behind(self, fault: Fault | None):
        before = len(asyncio.all_tasks())
        async with proxied() as (proxy, _), Client(proxy) as client:
            await client.ask()
            proxy.fault = fault
            client.writer.write(REQUEST)
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.01)
        assert len(asyncio.all_tasks()) == before


def test_unknown_names_are_said_to_be_unknown():
    import handrail.testing

    with pytest.raises(AttributeError, match="no attribute 'Gremlin'"):
        _ = handrail.testing.Gremlin


def test_every_public_name_can_be_imported():
    import handrail.testing

    assert all(getattr(handrail.testing, name) for name in handrail.testing.__all__)
