import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace

import pytest

from handrail.core.deadline import Deadline, DeadlineExceeded
from handrail.core.messages import Message
from handrail.core.models import (
    ModelAnswer,
    ModelEvent,
    ModelMalformed,
    ModelRateLimited,
    ModelRefused,
    ModelRequest,
    ModelUnavailable,
    ReasoningDelta,
    TextDelta,
)
from handrail.core.usage import Usage
from handrail.serving.models import ConnectionSettings, Endpoint, ModelConnections, OpenAICompatibleModel
from tests.serving.models.provider import END, SSE_HEAD, Handler, Provider, Wire, delta, finish, sse, text, tool

ASK = ModelRequest("Be kind.", [Message("user", "hi")])
SOON = 0.15


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    """The server runs on uvloop, whose sockets break in other ways."""
    return "asyncio", {"use_uvloop": request.param}


@pytest.fixture
async def connections() -> AsyncIterator[ModelConnections]:
    pool = ModelConnections()
    yield pool
    await pool.close()


class Caller:
    """Calls one client and keeps what came, even when it ends in an error."""

    def __init__(self, connections: ModelConnections, url: str, **options: object) -> None:
        self.client = OpenAICompatibleModel(replace(Endpoint(url, "m"), **options), connections)  # pyright: ignore[reportArgumentType]
        self.events: list[ModelEvent] = []

    @property
    def text(self) -> str:
        return "".join(event.text for event in self.events if isinstance(event, TextDelta))

    async def call(self, seconds: float = 5.0) -> ModelAnswer:
        async for event in self.client.stream(ASK, Deadline.after(seconds)):
            self.events.append(event)
        answer = self.events[-1]
        assert isinstance(answer, ModelAnswer)
        return answer


async def good(wire: Wire) -> None:
    await wire.head()
    await wire.say(delta({"role": "assistant", "content": ""}), text("Hel"), text("lo"))
    await wire.say(finish(), {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}})
    await wire.done()


class TestAGoodAnswer:
    async def test_streams_text_and_ends_with_the_whole_answer(self, connections: ModelConnections) -> None:
        async with Provider(good) as provider:
            caller = Caller(connections, provider.url, api_key="k")
            answer = await caller.call()
        assert caller.text == "Hello"
        assert answer == ModelAnswer("Hello", (), Usage(3, 2), "stop", "fine-2026", "openai_compatible")
        received = provider.received[0]
        assert received.path == "/v1/chat/completions"
        assert received.headers["authorization"] == "Bearer k"
        assert received.body["messages"][1] == {"role": "user", "content": "hi"}

    async def test_calls_without_a_key_when_there_is_none(self, connections: ModelConnections) -> None:
        async with Provider(good) as provider:
            await Caller(connections, provider.url).call()
        assert "authorization" not in provider.received[0].headers

    async def test_keeps_the_query_of_the_base_url(self, connections: ModelConnections) -> None:
        async with Provider(good) as provider:
            await Caller(connections, provider.url + "/?api-version=2").call()
        assert provider.received[0].path == "/v1/chat/completions?api-version=2"

    async def test_gives_the_connection_back(self, connections: ModelConnections) -> None:
        async with Provider(good) as provider:
            for _ in range(3):
                await Caller(connections, provider.url).call()
        assert (len(provider.received), provider.connections) == (3, 1)

    async def test_gives_it_back_when_the_end_of_the_stream_comes_late(self, connections: ModelConnections) -> None:
        async def slow_end(wire: Wire) -> None:
            await wire.head()
            await wire.say(text("a"), finish(), b"[DONE]")
            await asyncio.sleep(0.01)
            await wire.send(END)

        async with Provider(slow_end) as provider:
            for _ in range(2):
                await Caller(connections, provider.url).call()
        assert provider.connections == 1

    async def test_does_not_wait_for_a_server_that_keeps_a_finished_stream_open(
        self, connections: ModelConnections
    ) -> None:
        async def never_ends(wire: Wire) -> None:
            await wire.head()
            await wire.say(text("a"), finish(), b"[DONE]")
            await wire.gone()

        async with Provider(never_ends) as provider:
            assert (await Caller(connections, provider.url).call(1.0)).text == "a"

    async def test_text_comes_when_the_provider_sends_it(self, connections: ModelConnections) -> None:
        go_on = asyncio.Event()

        async def waits(wire: Wire) -> None:
            await wire.head()
            await wire.say(text("a"))
            await go_on.wait()
            await wire.say(text("b"), finish())
            await wire.done()

        async with Provider(waits) as provider:
            stream = Caller(connections, provider.url).client.stream(ASK, Deadline.after(5))
            assert await anext(stream) == TextDelta("a")
            go_on.set()
            assert await anext(stream) == TextDelta("b")
            await stream.aclose()

    async def test_characters_cut_in_two_by_the_network_arrive_whole(self, connections: ModelConnections) -> None:
        async def drips(wire: Wire) -> None:
            await wire.head()
            for byte in sse(text("é😀")) + sse(finish()):
                await wire.chunk(bytes([byte]))
                await asyncio.sleep(0)
            await wire.done()

        async with Provider(drips) as provider:
            caller = Caller(connections, provider.url)
            await caller.call()
        assert caller.text == "é😀"

    async def test_reasoning_is_passed_through(self, connections: ModelConnections) -> None:
        async def thinks(wire: Wire) -> None:
            await wire.head()
            await wire.say(delta({"reasoning_content": "hm"}), text("yes"), finish())
            await wire.done()

        async with Provider(thinks) as provider:
            caller = Caller(connections, provider.url)
            assert (await caller.call()).text == "yes"
        assert caller.events[:2] == [ReasoningDelta("hm"), TextDelta("yes")]

    async def test_a_server_that_does_not_stream_is_understood(self, connections: ModelConnections) -> None:
        async def whole(wire: Wire) -> None:
            await wire.body(200, b'{"choices":[{"message":{"content":"whole"},"finish_reason":"stop"}]}')

        async with Provider(whole) as provider:
            caller = Caller(connections, provider.url)
            assert (await caller.call()).text == caller.text == "whole"

    async def test_a_wrong_content_type_is_no_obstacle(self, connections: ModelConnections) -> None:
        async def mislabelled(wire: Wire) -> None:
            await wire.send(SSE_HEAD.replace(b"text/event-stream", b"application/json"))
            await wire.say(text("a"), finish())
            await wire.done()

        async with Provider(mislabelled) as provider:
            assert (await Caller(connections, provider.url).call()).text == "a"

    async def test_a_break_after_the_end_is_no_loss(self, connections: ModelConnections) -> None:
        async def finishes_and_dies(wire: Wire) -> None:
            await wire.head()
            await wire.say(text("a"), finish())
            await asyncio.sleep(0.02)
            wire.reset()

        async with Provider(finishes_and_dies) as provider:
            assert (await Caller(connections, provider.url).call()).text == "a"

    async def test_many_streams_run_at_once(self, connections: ModelConnections) -> None:
        together = asyncio.Barrier(150)

        async def all_together(wire: Wire) -> None:
            await wire.head()
            await together.wait()
            await wire.say(text("a"), finish())
            await wire.done()

        async with Provider(all_together) as provider:
            calls = [Caller(connections, provider.url).call() for _ in range(150)]
            assert {answer.text for answer in await asyncio.gather(*calls)} == {"a"}

    async def test_the_user_and_password_of_the_url_are_sent(self, connections: ModelConnections) -> None:
        async with Provider(good) as provider:
            await Caller(connections, provider.url.replace("http://", "http://me:secret@")).call()
        assert provider.received[0].headers["authorization"] == "Basic bWU6c2VjcmV0"


class TestARefusal:
    async def test_rate_limits_tell_when_to_come_back(self, connections: ModelConnections) -> None:
        async def busy(wire: Wire) -> None:
            await wire.body(429, b'{"error":{"message":"slow down"}}', "Retry-After: 7")

        async with Provider(busy) as provider:
            with pytest.raises(ModelRateLimited, match="slow down") as raised:
                await Caller(connections, provider.url).call()
        assert raised.value.retry_after_seconds == 7.0

    @pytest.mark.parametrize(("status", "kind"), [(500, ModelUnavailable), (400, ModelRefused)])
    async def test_other_statuses_are_told_apart(
        self, connections: ModelConnections, status: int, kind: type[Exception]
    ) -> None:
        async with Provider(lambda wire: wire.body(status, b"no")) as provider:
            with pytest.raises(kind, match=str(status)):
                await Caller(connections, provider.url).call()

    async def test_a_redirect_is_not_followed_with_the_key(self, connections: ModelConnections) -> None:
        async with Provider(lambda wire: wire.body(307, b"", "Location: /elsewhere")) as provider:
            with pytest.raises(ModelRefused, match="base_url"):
                await Caller(connections, provider.url, api_key="k").call()
        assert len(provider.received) == 1

    async def test_an_endless_error_page_is_not_read_to_its_end(self, connections: ModelConnections) -> None:
        async def endless(wire: Wire) -> None:
            await wire.send(SSE_HEAD.replace(b"200 OK", b"500 Oh"))
            while True:
                await wire.chunk(b"x" * 10_000)

        async with Provider(endless) as provider:
            with pytest.raises(ModelUnavailable, match="500"):
                await Caller(connections, provider.url).call()


class TestNoAnswer:
    async def test_text_that_is_no_unicode_is_refused_before_it_is_sent(self, connections: ModelConnections) -> None:
        async with Provider(good) as provider:
            client = Caller(connections, provider.url).client
            with pytest.raises(ModelRefused, match="surrogates"):
                await anext(client.stream(ModelRequest("", [Message("user", "\ud800")]), Deadline.after(5)))
        assert provider.connections == 0

    async def test_a_key_that_no_header_can_hold_is_refused_before_it_is_sent(
        self, connections: ModelConnections
    ) -> None:
        async with Provider(good) as provider:
            for key in ("sk-1\r\nHost: elsewhere", "sk-\u2026"):
                with pytest.raises(ModelRefused, match="line break"):
                    await Caller(connections, provider.url, api_key=key).call()
        assert provider.connections == 0

    async def test_a_compressed_answer_is_malformed(self, connections: ModelConnections) -> None:
        async with Provider(lambda wire: wire.body(200, b"x", "Content-Encoding: br")) as provider:
            with pytest.raises(ModelMalformed, match="'br'"):
                await Caller(connections, provider.url).call()

    async def test_nobody_listening_is_unavailable(self, connections: ModelConnections) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        with pytest.raises(ModelUnavailable, match="can't be reached"):
            await Caller(connections, f"http://127.0.0.1:{port}/v1").call()

    async def test_a_connection_that_closes_before_the_answer_is_unavailable(
        self, connections: ModelConnections
    ) -> None:
        async def hangs_up(wire: Wire) -> None:
            wire.reset()

        async with Provider(hangs_up) as provider:
            with pytest.raises(ModelUnavailable):
                await Caller(connections, provider.url).call()

    async def test_an_answer_that_is_no_http_is_unavailable(self, connections: ModelConnections) -> None:
        async with Provider(lambda wire: wire.send(b"SSH-2.0-x\r\n\r\n")) as provider:
            with pytest.raises(ModelUnavailable):
                await Caller(connections, provider.url).call()

    async def test_a_server_that_never_begins_is_unavailable_while_there_is_time_for_another(
        self, connections: ModelConnections
    ) -> None:
        async with Provider(Wire.gone) as provider:
            with pytest.raises(ModelUnavailable, match="did not begin"):
                await Caller(connections, provider.url, first_byte_timeout_seconds=SOON).call()

    async def test_waiting_for_a_connection_has_a_limit_of_its_own(self) -> None:
        pool = ModelConnections(ConnectionSettings(limit=1))
        async with Provider(Wire.gone) as provider:
            holding = asyncio.create_task(Caller(pool, provider.url).call())
            await provider.called.wait()
            with pytest.raises(ModelUnavailable, match="did not begin"):
                await Caller(pool, provider.url, connect_timeout_seconds=SOON).call()
            holding.cancel()
            await asyncio.wait([holding])
            await pool.close()

    async def test_a_server_that_never_begins_ends_at_the_deadline(self, connections: ModelConnections) -> None:
        async with Provider(Wire.gone) as provider:
            with pytest.raises(DeadlineExceeded):
                await Caller(connections, provider.url).call(SOON)

    async def test_nothing_is_sent_after_the_deadline(self, connections: ModelConnections) -> None:
        async with Provider(good) as provider:
            with pytest.raises(DeadlineExceeded):
                await Caller(connections, provider.url).call(0.0)
        assert provider.connections == 0

    async def test_closed_connections_are_unavailable(self, connections: ModelConnections) -> None:
        await connections.close()
        with pytest.raises(ModelUnavailable, match="shutting down"):
            await Caller(connections, "http://127.0.0.1:1/v1").call()


async def breaks(wire: Wire) -> None:
    await asyncio.sleep(0.02)
    wire.reset()


async def stalls(wire: Wire) -> None:
    await wire.gone()


async def garbles(wire: Wire) -> None:
    await wire.say(b'{"choices": [')


async def ends(wire: Wire) -> None:
    await wire.send(END)


async def names_no_tool(wire: Wire) -> None:
    await wire.say(tool(0, "c", None, "{}"), finish("tool_calls"))
    await wire.done()


def after(start: str, then: Handler) -> Handler:
    async def handler(wire: Wire) -> None:
        await wire.head()
        if start:
            await wire.say(text(start))
            await asyncio.sleep(0.02)
        await then(wire)

    return handler


class TestABrokenAnswer:
    @pytest.mark.parametrize("start", ["", "Hel"])
    @pytest.mark.parametrize("then", [breaks, garbles, ends, names_no_tool])
    async def test_is_malformed_and_says_whether_text_was_shown(
        self, connections: ModelConnections, start: str, then: Handler
    ) -> None:
        async with Provider(after(start, then)) as provider:
            caller = Caller(connections, provider.url, api_key="k")
            with pytest.raises(ModelMalformed) as raised:
                await caller.call()
        assert caller.text == start
        assert raised.value.after_text is bool(start)

    async def test_a_stall_ends_at_the_deadline(self, connections: ModelConnections) -> None:
        async with Provider(after("Hel", stalls)) as provider:
            caller = Caller(connections, provider.url)
            with pytest.raises(DeadlineExceeded, match="did not finish"):
                await caller.call(SOON)
        assert caller.text == "Hel"

    async def test_a_stall_within_the_deadline_is_the_models_fault(self, connections: ModelConnections) -> None:
        async with Provider(after("Hel", stalls)) as provider:
            with pytest.raises(ModelUnavailable) as raised:
                await Caller(connections, provider.url, timeout_seconds=SOON).call()
        assert raised.value.after_text

    async def test_a_page_of_html_is_malformed(self, connections: ModelConnections) -> None:
        async with Provider(lambda wire: wire.body(200, b"<html>", content_type="text/html")) as provider:
            with pytest.raises(ModelMalformed):
                await Caller(connections, provider.url).call()

    async def test_a_huge_line_is_malformed(self, connections: ModelConnections) -> None:
        async def huge(wire: Wire) -> None:
            await wire.head()
            await wire.chunk(b"data: ")
            for _ in range(60):
                await wire.chunk(b"x" * 100_000)

        async with Provider(huge) as provider:
            with pytest.raises(ModelMalformed, match="more than"):
                await Caller(connections, provider.url).call()


class TestLettingGo:
    async def test_cancelling_closes_the_call_to_the_provider(self, connections: ModelConnections) -> None:
        started, gone = asyncio.Event(), asyncio.Event()

        async def watches(wire: Wire) -> None:
            await wire.head()
            await wire.say(text("a"))
            started.set()
            await wire.gone()
            gone.set()

        async with Provider(watches) as provider:
            task = asyncio.create_task(Caller(connections, provider.url).call())
            await started.wait()
            await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await asyncio.wait_for(gone.wait(), 1)

    async def test_closing_the_stream_closes_the_call_to_the_provider(self, connections: ModelConnections) -> None:
        gone = asyncio.Event()

        async def watches(wire: Wire) -> None:
            await wire.head()
            await wire.say(text("a"))
            await wire.gone()
            gone.set()

        async with Provider(watches) as provider:
            async with aclosing(Caller(connections, provider.url).client.stream(ASK, Deadline.after(5))) as events:
                await anext(events)
            await asyncio.wait_for(gone.wait(), 1)

    async def test_a_cancelled_call_leaves_no_connection_behind(self, connections: ModelConnections) -> None:
        async with Provider(Wire.gone) as provider:
            task = asyncio.create_task(Caller(connections, provider.url).call())
            await provider.called.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert connections.in_use == 0
