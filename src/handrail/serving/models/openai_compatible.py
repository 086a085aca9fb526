"""Any server that speaks chat completions: hosted providers, vLLM, Ollama, gateways. Always streamed, never retried."""

import asyncio
import base64
import hashlib
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import orjson
from yarl import URL

from handrail.core.deadline import Deadline, DeadlineExceeded
from handrail.core.models import ModelError, ModelEvent, ModelRequest, ReasoningDelta, TextDelta
from handrail.serving.models.chat_answer import AnswerReader
from handrail.serving.models.chat_request import ChatRequests
from handrail.serving.models.connection import Connection
from handrail.serving.models.connections import ModelConnections, Origin
from handrail.serving.models.failures import Failures

MAX_ERROR_BYTES = 16_384
# How long a server may take to end an answer that is complete; ended, its connection can be used again.
LINGER_SECONDS = 0.05
# What no header can hold; a key with a line break in it would be read as further headers.
_NO_HEADER = re.compile(r"[^\t\x20-\x7e\x80-\xff]")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a model is and how long it may take.

    Attributes:
        base_url: up to and without `/chat/completions`; a query in it is kept.
        connect_timeout_seconds: for the connection alone.
        first_byte_timeout_seconds: until the server begins to answer.
        silence_timeout_seconds: between two pieces of an answer.
        timeout_seconds: for one whole call; the turn's deadline cuts it shorter.
        replay_reasoning: send a model's reasoning back with its tool calls, where the provider asks for it.
    """

    base_url: str
    model: str
    api_key: str | None = None
    api_key_env: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict[str, Any])
    connect_timeout_seconds: float = 5.0
    first_byte_timeout_seconds: float = 30.0
    silence_timeout_seconds: float = 30.0
    timeout_seconds: float = 60.0
    replay_reasoning: bool = False


class OpenAICompatibleModel:
    """One model behind one URL, over the connections of the process."""

    provider = "openai_compatible"

    def __init__(self, endpoint: Endpoint, connections: ModelConnections) -> None:
        self.model = endpoint.model
        self._endpoint = endpoint
        self._connections = connections
        url = _completions_url(endpoint.base_url)
        self.origin = url.host_port_subcomponent or ""
        self.account: str | None = hashlib.sha256(endpoint.api_key.encode()).hexdigest() if endpoint.api_key else None
        self._origin = Origin(url.raw_host or "", url.port or 80, url.scheme == "https")
        self._head = _head(url, endpoint.api_key)
        self._requests = ChatRequests(endpoint.model, endpoint.parameters, replay_reasoning=endpoint.replay_reasoning)
        name = f"model {endpoint.model!r} at {url.host}"
        self._failures = Failures(name, endpoint.api_key, endpoint.api_key_env)

    async def stream(self, request: ModelRequest, deadline: Deadline) -> AsyncGenerator[ModelEvent]:
        """Text and reasoning as they come, joined per network read, then one `ModelAnswer`.

        Raises:
            ModelError: see `failures`.
            DeadlineExceeded: the turn's time, not the call's, was used up.
        """
        deadline.require()
        reader = AnswerReader(self._failures, self.model, self.provider, keep_reasoning=self._endpoint.replay_reasoning)
        connection = await self._ask(self._rendered(request), deadline)
        try:
            if connection.status != 200:
                raise await self._refusal(connection)
            self._require_plain(connection)
            ended = False
            while not (ended or reader.done):
                try:
                    data = await connection.read()
                except OSError as error:
                    if not reader.is_complete:
                        raise self._interrupted(error, deadline, reader.after_text) from error
                    data = b""
                if data:
                    reader.feed(data)
                else:
                    ended = True
                    reader.close()
                if reasoning := reader.take_reasoning():
                    yield ReasoningDelta(reasoning)
                if text := reader.take_text():
                    yield TextDelta(text)
            if not connection.is_complete:
                await _linger(connection)
            yield reader.answer()
        finally:
            self._connections.release(connection, self._origin)

    async def close(self) -> None:
        """The connections belong to the process and are closed with it."""

    def _rendered(self, request: ModelRequest) -> bytes:
        if self._head is None:
            raise self._failures.unsendable("its API key or URL has a line break or a letter that HTTP can't carry")
        try:
            body = self._requests.render(request)
        except orjson.JSONEncodeError as error:
            raise self._failures.unsendable(f"{error}; check what the tools returned") from error
        if request.traceparent is None:
            return b"%b%d\r\n\r\n%b" % (self._head, len(body), body)
        trace = request.traceparent.encode("ascii")
        return b"%b%d\r\ntraceparent: %b\r\n\r\n%b" % (self._head, len(body), trace, body)

    async def _ask(self, request: bytes, deadline: Deadline) -> Connection:
        """Send the request; returns the connection when its answer has begun."""
        endpoint, connections, connection = self._endpoint, self._connections, None
        whole = deadline.until(endpoint.timeout_seconds)
        begins = deadline.until(endpoint.first_byte_timeout_seconds)
        try:
            connection = await connections.acquire(
                self._origin, within_seconds=begins.within(endpoint.connect_timeout_seconds)
            )
            await connection.ask(
                request,
                first_byte_seconds=begins.remaining(),
                silence_seconds=endpoint.silence_timeout_seconds,
                seconds=whole.remaining(),
            )
        except BaseException as error:
            if connection is not None:
                connections.release(connection, self._origin)
            # A time-out with a number is the system's: nobody answers at that address.
            if isinstance(error, TimeoutError) and error.errno is None:
                raise self._out_of_time("did not begin to answer in time", deadline) from error
            if isinstance(error, OSError):
                raise self._failures.unreachable(error) from error
            raise
        return connection

    async def _refusal(self, connection: Connection) -> ModelError:
        body = b""
        with suppress(OSError):
            while len(body) < MAX_ERROR_BYTES and (data := await connection.read()):
                body += data
        return self._failures.of_status(connection.status, connection.headers, body[:MAX_ERROR_BYTES])

    def _require_plain(self, connection: Connection) -> None:
        coding = connection.headers.get("content-encoding", "identity").lower()
        if coding != "identity":
            raise self._failures.malformed(f"sent its answer as {coding!r}, which it was asked not to", False)

    def _interrupted(self, error: Exception, deadline: Deadline, after_text: bool) -> ModelError | DeadlineExceeded:
        if isinstance(error, TimeoutError) and error.errno is None:
            return self._out_of_time("did not finish its answer in time", deadline, after_text)
        return self._failures.malformed(f"broke off in the middle of its answer: {error}", after_text)

    def _out_of_time(self, what: str, deadline: Deadline, after_text: bool = False) -> ModelError | DeadlineExceeded:
        # A timer may fire a clock tick early.
        if deadline.remaining() <= 0.01:
            return DeadlineExceeded(f"{self._failures.name} {what}; send the message again or ask for a person")
        return self._failures.timed_out(what, after_text)


async def _linger(connection: Connection) -> None:
    with suppress(OSError):
        async with asyncio.timeout(LINGER_SECONDS):
            while await connection.read():
                pass


def _completions_url(base_url: str) -> URL:
    base = URL(base_url)
    return base.with_path(base.path.rstrip("/") + "/chat/completions", keep_query=True)


def _head(url: URL, api_key: str | None) -> bytes | None:
    """All of a request but the length of its body and the body; `None` when it can't be sent."""
    lines = [
        f"POST {url.raw_path_qs} HTTP/1.1",
        f"Host: {url.host_port_subcomponent}",
        "Content-Type: application/json",
        "Accept: text/event-stream",
        # A compressed stream costs time on both sides and is held back by some servers until a block is full.
        "Accept-Encoding: identity",
    ]
    if api_key:
        lines.append(f"Authorization: Bearer {api_key}")
    elif url.user:
        lines.append(
            f"Authorization: Basic {base64.b64encode(f'{url.user}:{url.password or str()}'.encode()).decode()}"
        )
    if any(_NO_HEADER.search(line) for line in lines):
        return None
    return "\r\n".join([*lines, "Content-Length: "]).encode("latin-1")
