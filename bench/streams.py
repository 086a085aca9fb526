"""A thousand slow streams at once, started over five seconds: do they all end, how late, and at what memory each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Protocol

from bench.clients import MockClient, TurnClient, WrongAnswer, model_text, server_events
from bench.dialogue import INSTRUCTIONS, STREAM_TOKENS, Message
from bench.http_client import Response
from bench.load import DRAIN_SECONDS

if TYPE_CHECKING:
    from bench.processes import Server

SAMPLE_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class StreamPlan:
    """How many streams, how they start, and when each of their tokens is due."""

    count: int = 1000
    start_seconds: float = 5.0
    first_token_ms: float = 300.0
    gap_ms: float = 250.0
    tokens: int = STREAM_TOKENS

    def due_ms(self, token: int) -> float:
        """When the model sends this token (from 0), counted from the request."""
        return self.first_token_ms + token * self.gap_ms


@dataclass(slots=True)
class StreamResult:
    """How late the streams of one server were against the model's own schedule, and what they cost."""

    added_ms: list[float] = field(default_factory=list[float])
    """Per stream: its end against the moment the model sent the last token."""
    token_late_ms: list[float] = field(default_factory=list[float])
    """Per token: its arrival against the moment the model sent it."""
    errors: list[str] = field(default_factory=list[str])
    memory_kb_per_stream: float = 0.0
    peak_mb: float = 0.0
    cpu_ms_per_stream: float = 0.0


class Stream(Protocol):
    """One client that is ready to stream one answer."""

    async def prepare(self) -> None: ...

    async def run(self) -> tuple[Response, list[tuple[float, str]]]:
        """The response and its pieces of text, each with the moment it arrived."""
        ...

    def close(self) -> None: ...


class TurnStream:
    """A stream of a server that has our API; its conversation is made before the clock starts."""

    def __init__(self, port: int, messages: Iterator[Message]) -> None:
        self._client = TurnClient(port, messages)
        self._message = next(messages)

    async def prepare(self) -> None:
        await self._client.begin_conversation()
        self._client.renew_connection()

    async def run(self) -> tuple[Response, list[tuple[float, str]]]:
        response = await self._client.send(self._message)
        texts = [
            (at, event["text"])
            for at, whole in _whole_events(response)
            for name, event in server_events(whole)
            if name == "message.delta"
        ]
        if "".join(text for _, text in texts) != self._message.answer or b"event: turn.completed" not in response.body:
            raise WrongAnswer(f"status {response.status}, the stream ended with {response.body[-300:]!r}")
        return response, texts

    def close(self) -> None:
        self._client.close()


class ModelStream:
    """A stream of the mock model itself."""

    def __init__(self, port: int, messages: Iterator[Message]) -> None:
        self._client = MockClient(port, messages, with_tools=False)
        self._message = next(messages)

    async def prepare(self) -> None:
        """Nothing: the model keeps no conversations."""

    async def run(self) -> tuple[Response, list[tuple[float, str]]]:
        asked = [{"role": "system", "content": INSTRUCTIONS}, {"role": "user", "content": self._message.text}]
        response = await self._client.send(asked)
        texts = [(at, model_text(whole)) for at, whole in _whole_events(response)]
        if "".join(text for _, text in texts) != self._message.answer:
            raise WrongAnswer(f"the model's stream ended with {response.body[-300:]!r}")
        return response, texts

    def close(self) -> None:
        self._client.close()


async def run_streams(server: Server, plan: StreamPlan, make: Callable[[], Stream]) -> StreamResult:
    """Run the plan once against one server."""
    streams = [make() for _ in range(plan.count)]
    memory_before = server.rss_mb()
    for stream in streams:
        await stream.prepare()
    result, cpu_before = StreamResult(), server.cpu_ms()
    peak = asyncio.create_task(_peak_rss_mb(server, memory_before))
    starts = [perf_counter() + plan.start_seconds * at / plan.count for at in range(plan.count)]
    try:
        async with asyncio.timeout(plan.start_seconds + plan.due_ms(plan.tokens) / 1000 + DRAIN_SECONDS):
            await asyncio.gather(*(_one(stream, at, plan, result) for stream, at in zip(streams, starts, strict=True)))
    except TimeoutError:
        result.errors.append(f"streams were still running {DRAIN_SECONDS} s after the last token was due")
    peak.cancel()
    result.peak_mb = await peak
    result.memory_kb_per_stream = 1000 * (result.peak_mb - memory_before) / plan.count
    result.cpu_ms_per_stream = (server.cpu_ms() - cpu_before) / plan.count
    for stream in streams:
        stream.close()
    return result


async def _one(stream: Stream, start_at: float, plan: StreamPlan, result: StreamResult) -> None:
    await asyncio.sleep(start_at - perf_counter())
    try:
        response, texts = await stream.run()
    except (WrongAnswer, OSError) as error:
        result.errors.append(f"{type(error).__name__}: {error}")
        return
    result.added_ms.append((response.done_at - response.sent_at) * 1000 - plan.due_ms(plan.tokens - 1))
    result.token_late_ms += token_lateness(texts, response.sent_at, plan)


def token_lateness(texts: list[tuple[float, str]], sent_at: float, plan: StreamPlan) -> list[float]:
    """How late each token arrived; several may come in one piece."""
    late: list[float] = []
    for at, text in texts:
        late += [(at - sent_at) * 1000 - plan.due_ms(len(late) + more) for more in range(len(text.split()))]
    return late


def _whole_events(response: Response) -> Iterator[tuple[float, bytes]]:
    """The body cut after whole events, each part with the moment its last byte arrived."""
    rest = b""
    for at, data in response.pieces:
        whole, _, rest = (rest + data).rpartition(b"\n\n")
        if whole:
            yield at, whole


async def _peak_rss_mb(server: Server, start: float) -> float:
    peak = start
    try:
        while True:
            peak = max(peak, server.rss_mb())
            await asyncio.sleep(SAMPLE_SECONDS)
    except asyncio.CancelledError:
        return peak
