"""Clients that hold one dialogue: with a server that has our API, or with the mock model itself.

Each answer is checked whole. A wrong one raises `WrongAnswer`: a figure that is too good is a bug until explained.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from bench.dialogue import INSTRUCTIONS, SKU, TOOL_SCHEMAS, Message, lookup_order, lookup_stock
from bench.http_client import HttpConnection, Response

TURNS_PER_CONVERSATION = 10
"""Then a new conversation begins, so that the history a server reads does not grow without bound."""


class WrongAnswer(Exception):
    """The server answered something else than the whole text the model streamed."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One finished turn as its client saw it, milliseconds from the request."""

    latency_ms: float
    overhead_ms: float | None = None


class Client(Protocol):
    """One connection that takes turns."""

    async def turn(self) -> Turn: ...

    def close(self) -> None: ...


class TurnClient:
    """Takes turns with a server that has Handrail's API."""

    def __init__(self, port: int, messages: Iterator[Message], *, streamed: bool = True) -> None:
        self._port = port
        self._connection = HttpConnection(port)
        self._messages = messages
        self._streamed = streamed
        self._conversation_id = ""
        self._turns_left = 0

    async def turn(self) -> Turn:
        """Take one turn, in a new conversation when the last one is long enough."""
        if self._turns_left == 0:
            await self.begin_conversation()
        self._turns_left -= 1
        message = next(self._messages)
        response = await self.send(message)
        read = _read_stream if self._streamed else _read_json
        overhead_ms = read(response, message)
        return Turn((response.done_at - response.sent_at) * 1000, overhead_ms)

    async def begin_conversation(self) -> None:
        response = _require_ok(await self._connection.post("/v1/conversations", b"{}"))
        self._conversation_id = orjson.loads(response.body)["id"]
        self._turns_left = TURNS_PER_CONVERSATION

    def renew_connection(self) -> None:
        """Open a new connection at the next request: one that idles for seconds may be closed under that request."""
        self._connection.close()
        self._connection = HttpConnection(self._port)

    async def send(self, message: Message) -> Response:
        """Post the message and wait for the whole answer, which is not yet checked."""
        return await self._connection.post(
            f"/v1/conversations/{self._conversation_id}/turns",
            orjson.dumps({"message": message.text}),
            accept="text/event-stream" if self._streamed else "application/json",
        )

    def close(self) -> None:
        self._connection.close()


class MockClient:
    """Asks the mock model directly what a server would ask it: the time that is nobody's overhead."""

    def __init__(self, port: int, messages: Iterator[Message], *, with_tools: bool) -> None:
        self._connection = HttpConnection(port)
        self._messages = messages
        self._with_tools = with_tools

    async def turn(self) -> Turn:
        """One model call, or two with the tool results in between."""
        message = next(self._messages)
        transcript: list[dict[str, Any]] = [
            {"role": "system", "content": INSTRUCTIONS},
            {"role": "user", "content": message.text},
        ]
        response = await self.send(transcript)
        started_at = response.sent_at
        if self._with_tools:
            transcript += _tool_round(message)
            response = await self.send(transcript)
        _require_text(model_text(response.body), message)
        return Turn((response.done_at - started_at) * 1000)

    async def send(self, transcript: list[dict[str, Any]]) -> Response:
        body = {
            "model": "mock",
            "stream": True,
            "stream_options": {"include_usage": True},
            "messages": transcript,
            "tools": TOOL_SCHEMAS,
        }
        return _require_ok(await self._connection.post("/v1/chat/completions", orjson.dumps(body)))

    def close(self) -> None:
        self._connection.close()


def server_events(body: bytes) -> Iterator[tuple[str, dict[str, Any]]]:
    """The events of an SSE body as (name, data); comments and keep-alives are left out."""
    for block in body.replace(b"\r\n", b"\n").split(b"\n\n"):
        fields = dict(line.split(b": ", 1) for line in block.split(b"\n") if b": " in line)
        if b"event" in fields:
            yield fields[b"event"].decode(), orjson.loads(fields.get(b"data", b"{}"))


def model_text(body: bytes) -> str:
    """The text of a streamed chat completion."""
    chunks = (orjson.loads(line[6:]) for line in body.split(b"\n\n") if line.startswith(b"data: {"))
    choices = (choice for chunk in chunks for choice in chunk["choices"])
    return "".join(choice["delta"].get("content") or "" for choice in choices)


def _read_stream(response: Response, message: Message) -> float | None:
    events = list(server_events(_require_ok(response).body))
    text = "".join(data["text"] for name, data in events if name == "message.delta")
    if not events or events[-1][0] != "turn.completed":
        raise WrongAnswer(f"the stream ended with {events[-1:]!r} instead of turn.completed")
    _require_text(text, message)
    return events[-1][1].get("overhead_ms")


def _read_json(response: Response, message: Message) -> float | None:
    turn = orjson.loads(_require_ok(response).body)
    if turn["status"] != "completed":
        raise WrongAnswer(f"the turn ended as {turn['status']!r}: {turn!r}")
    _require_text(turn["message"]["content"], message)
    overhead_ms = response.headers.get(b"x-handrail-overhead-ms")
    return None if overhead_ms is None else float(overhead_ms)


def _require_ok(response: Response) -> Response:
    if response.status not in (200, 201):
        raise WrongAnswer(f"status {response.status}: {response.body[:300]!r}")
    return response


def _require_text(text: str, message: Message) -> None:
    if text != message.answer:
        raise WrongAnswer(f"asked {message.text!r}, got {text!r} instead of {message.answer!r}")


def _tool_round(message: Message) -> list[dict[str, Any]]:
    asked = (
        ("lookup_order", {"order_id": message.order_id}, lookup_order(message.order_id)),
        ("lookup_stock", {"sku": SKU}, lookup_stock(SKU)),
    )
    calls = [
        {"id": name, "type": "function", "function": {"name": name, "arguments": orjson.dumps(arguments).decode()}}
        for name, arguments, _ in asked
    ]
    results = [
        {"role": "tool", "tool_call_id": name, "content": orjson.dumps(result).decode()} for name, _, result in asked
    ]
    return [{"role": "assistant", "content": None, "tool_calls": calls}, *results]
