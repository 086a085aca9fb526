"""Any server that speaks chat completions: hosted providers, vLLM, Ollama, gateways. Always streamed, never retried."""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson
from multidict import CIMultiDict
from yarl import URL

from handrail.core.deadline import Deadline, DeadlineExceeded
from handrail.core.models import ModelError, ModelEvent, ModelRequest, ReasoningDelta, TextDelta
from handrail.serving.models.chat_answer import AnswerReader
from handrail.serving.models.chat_request import ChatRequests
from handrail.serving.models.connections import ModelConnections
from handrail.serving.models.failures import Failures

MAX_ERROR_BYTES = 16_384
# How long a server may take to end an answer that is complete; ended, its connection can be used again.
LINGER_SECONDS = 0.05
_BROKEN = (aiohttp.ClientError, OSError)


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
        self._url = _completions_url(endpoint.base_url)
        self.origin = self._url.host_port_subcomponent or ""
        self.account: str | None = hashlib.sha256(endpoint.api_key.encode()).hexdigest() if endpoint.api_key else None
        self._headers = _headers(endpoint.api_key)
        self._requests = ChatRequests(endpoint.model, endpoint.parameters, replay_reasoning=endpoint.replay_reasoning)
        name = f"model {endpoint.model!r} at {self._url.host}"
        self._failures = Failures(name, endpoint.api_key, endpoint.api_key_env)

    async def stream(self, request: ModelRequest, deadline: Deadline) -> AsyncGenerator[ModelEvent]:
        """Text and reasoning as they come, joined per network read, then one `ModelAnswer`.

        Raises:
            ModelError: see `failures`.
            DeadlineExceeded: the turn's time, not the call's, was used up.
        """
        deadline.require()
        reader = AnswerReader(self._failures, self.model, self.provider, keep_reasoning=self._endpoint.replay_reasoning)
        response = await self._open(self._rendered(request), deadline)
        try:
            if response.status != 200:
                raise await self._refusal(response)
            content = response.content
            ended = False
            while not (ended or reader.done):
                try:
                    data = await content.readany()
                except (TimeoutError, *_BROKEN) as error:
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
            if not ended:
                await _linger(content)
            yield reader.answer()
        finally:
            # Gives the connection back when the answer was read to its end, else closes it.
            response.close()

    async def close(self) -> None:
        """The connections belong to the process and are closed with it."""

    def _rendered(self, request: ModelRequest) -> bytes:
        try:
            return self._requests.render(request)
        except orjson.JSONEncodeError as error:
            raise self._failures.unsendable(error) from error

    async def _open(self, body: bytes, deadline: Deadline) -> aiohttp.ClientResponse:
        endpoint = self._endpoint
        timeout = aiohttp.ClientTimeout(
            total=deadline.within(endpoint.timeout_seconds),
            connect=endpoint.connect_timeout_seconds,
            sock_read=endpoint.silence_timeout_seconds,
            # aiohttp would round longer times up to whole seconds.
            ceil_threshold=float("inf"),
        )
        try:
            async with asyncio.timeout(endpoint.first_byte_timeout_seconds):
                return await self._connections.session().post(
                    self._url, data=body, headers=self._headers, timeout=timeout, allow_redirects=False
                )
        except TimeoutError as error:
            raise self._out_of_time("did not begin to answer in time", deadline) from error
        except _BROKEN as error:
            raise self._failures.unreachable(error) from error

    async def _refusal(self, response: aiohttp.ClientResponse) -> ModelError:
        body = b""
        with suppress(TimeoutError, *_BROKEN):
            while len(body) < MAX_ERROR_BYTES and (data := await response.content.readany()):
                body += data
        return self._failures.of_status(response.status, response.headers, body[:MAX_ERROR_BYTES])

    def _interrupted(self, error: Exception, deadline: Deadline, after_text: bool) -> ModelError | DeadlineExceeded:
        if isinstance(error, TimeoutError):
            return self._out_of_time("did not finish its answer in time", deadline, after_text)
        return self._failures.malformed(f"broke off in the middle of its answer: {error}", after_text)

    def _out_of_time(self, what: str, deadline: Deadline, after_text: bool = False) -> ModelError | DeadlineExceeded:
        # A timer may fire a clock tick early.
        if deadline.remaining() <= 0.01:
            return DeadlineExceeded(f"{self._failures.name} {what}; send the message again or ask for a person")
        return self._failures.timed_out(what, after_text)


async def _linger(content: aiohttp.StreamReader) -> None:
    if content.at_eof():
        return
    with suppress(TimeoutError, *_BROKEN):
        async with asyncio.timeout(LINGER_SECONDS):
            while await content.readany():
                pass


def _completions_url(base_url: str) -> URL:
    base = URL(base_url)
    return base.with_path(base.path.rstrip("/") + "/chat/completions", keep_query=True)


def _headers(api_key: str | None) -> CIMultiDict[str]:
    headers = CIMultiDict({"Content-Type": "application/json", "Accept": "text/event-stream"})
    # A compressed stream costs time on both sides and is held back by some servers until a block is full.
    headers["Accept-Encoding"] = "identity"
    if api_key:
        headers["Authorization"] = f"Bearer {api_key}"
    return headers
