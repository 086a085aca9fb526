"""A mock OpenAI-compatible model server, cheap enough never to be what is measured.

A raw asyncio protocol with precomputed answers: what it costs is parsing the request. Tokens due at once leave in one
write; with a delay or a gap each token leaves at its own moment, counted from the request, so lateness never adds up.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Iterator
from typing import Any, cast

import httptools
import orjson
import uvloop

from bench.dialogue import (
    ANSWER_TOKENS,
    ASKS_FOR_TOOLS,
    ORDER_STATE,
    PLAIN_WORDS,
    SKU,
    STOCK_STATE,
    TOOL_WORDS,
    WRONG_TOOL_RESULTS,
    answer,
    order_in,
)

STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)
LAST_CHUNK = b"0\r\n\r\n"
ORDER_PLACE, CALL_PLACE = b"A000000", b"00000000"


class Answers:
    """Every answer the model can give, as the bytes that go on the wire."""

    def __init__(self, tokens: int) -> None:
        if tokens < 2:
            raise ValueError(f"an answer has at least 2 tokens, not {tokens!r}")
        self.tokens = tokens
        self.served = 0
        self._usage = usage = _usage(tokens)
        self._streams = {
            words: [_event(delta={"role": "assistant", "content": ""})]
            + [_event(delta={"content": token}) for token in answer(words, tokens)]
            + [_event(finish_reason="stop")]
            for words in (PLAIN_WORDS, TOOL_WORDS, WRONG_TOOL_RESULTS)
        }
        self._tool_stream = list(_tool_call_events())
        self._usage_event = _http_chunk(_sse({**_envelope("chat.completion.chunk"), "choices": [], "usage": usage}))
        self._done = _http_chunk(b"data: [DONE]\n\n") + LAST_CHUNK

    def stream(self, request: dict[str, Any]) -> list[bytes]:
        """The HTTP chunks of a streamed answer, one a token; the end of the stream rides with the last."""
        self.served += 1
        words = _words_for(request["messages"])
        if words is None and request.get("tools"):
            events = self._tool_events(request["messages"][-1]["content"])
        else:
            events = list(self._streams[words or PLAIN_WORDS])
        usage = self._usage_event if (request.get("stream_options") or {}).get("include_usage") else b""
        events[-1] += usage + self._done
        return events

    def whole(self, request: dict[str, Any]) -> bytes:
        """The body of an answer that is not streamed."""
        self.served += 1
        words = _words_for(request["messages"])
        message: dict[str, Any] = {"role": "assistant", "content": None}
        if words is None and request.get("tools"):
            calls = _tool_calls(order_in(request["messages"][-1]["content"]), f"{self.served:08d}")
            message["tool_calls"] = calls
        else:
            message["content"] = "".join(answer(words or PLAIN_WORDS, self.tokens))
        finish = "tool_calls" if "tool_calls" in message else "stop"
        choice = {"index": 0, "message": message, "finish_reason": finish}
        return orjson.dumps({**_envelope("chat.completion"), "choices": [choice], "usage": self._usage})

    def _tool_events(self, message: str) -> list[bytes]:
        order, call = order_in(message).encode(), b"%08d" % self.served
        return [event.replace(ORDER_PLACE, order).replace(CALL_PLACE, call) for event in self._tool_stream]


def _words_for(messages: list[dict[str, Any]]) -> str | None:
    """The sentence to answer with; None when the model wants its tools called first."""
    last = messages[-1]
    if last["role"] == "tool":
        return TOOL_WORDS if _results_are_right(messages) else WRONG_TOOL_RESULTS
    return None if ASKS_FOR_TOOLS in _text(last) else PLAIN_WORDS


def _results_are_right(messages: list[dict[str, Any]]) -> bool:
    results = [_text(message) for message in messages[-2:] if message["role"] == "tool"]
    asked = next(_text(message) for message in reversed(messages) if message["role"] == "user")
    both = "\n".join(results)
    return len(results) == 2 and ORDER_STATE in both and STOCK_STATE in both and order_in(asked) in both


def _text(message: dict[str, Any]) -> str:
    content = message["content"]
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def _envelope(kind: str) -> dict[str, Any]:
    return {"id": "chatcmpl-mock", "object": kind, "created": 1_700_000_000, "model": "mock-2026-01-01"}


def _usage(tokens: int) -> dict[str, int]:
    return {"prompt_tokens": 100, "completion_tokens": tokens, "total_tokens": 100 + tokens}


def _event(*, delta: dict[str, Any] | None = None, finish_reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta or {}, "finish_reason": finish_reason}
    return _http_chunk(_sse({**_envelope("chat.completion.chunk"), "choices": [choice]}))


def _sse(body: dict[str, Any]) -> bytes:
    return b"data: %b\n\n" % orjson.dumps(body)


def _http_chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _tool_calls(order_id: str, call: str) -> list[dict[str, Any]]:
    asked = (("lookup_order", {"order_id": order_id}), ("lookup_stock", {"sku": SKU}))
    return [
        {
            "id": f"call_{call}_{at}",
            "type": "function",
            "function": {"name": name, "arguments": orjson.dumps(arguments).decode()},
        }
        for at, (name, arguments) in enumerate(asked)
    ]


def _tool_call_events() -> Iterator[bytes]:
    """Two parallel calls as a provider streams them: a head each, then the arguments in pieces."""
    yield _event(delta={"role": "assistant", "content": None})
    for at, call in enumerate(_tool_calls(ORDER_PLACE.decode(), CALL_PLACE.decode())):
        arguments = call["function"]["arguments"]
        head = {**call, "index": at, "function": {"name": call["function"]["name"], "arguments": ""}}
        yield _event(delta={"tool_calls": [head]})
        # The order id stays in one piece, because it is filled in later.
        for piece in (arguments[:6], arguments[6:]):
            yield _event(delta={"tool_calls": [{"index": at, "function": {"arguments": piece}}]})
    yield _event(finish_reason="tool_calls")


class MockModel(asyncio.Protocol):
    """One client connection."""

    def __init__(self, answers: Answers, first_token_seconds: float, gap_seconds: float) -> None:
        self._answers = answers
        self._first_token_seconds = first_token_seconds
        self._gap_seconds = gap_seconds
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport
        self._parser: httptools.HttpRequestParser
        self._url = b""
        self._body: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transport is no asyncio.Transport by inheritance.
        self._transport = cast(asyncio.Transport, transport)
        self._parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        if self._timer is not None:
            self._timer.cancel()

    def on_url(self, url: bytes) -> None:
        self._url, self._body = url, []

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        if self._url.endswith(b"/chat/completions"):
            self._complete(orjson.loads(b"".join(self._body)))
        else:
            self._send_json(orjson.dumps({"status": "ok", "completions": self._answers.served}))

    def _complete(self, request: dict[str, Any]) -> None:
        if not request.get("stream"):
            whole_seconds = self._first_token_seconds + self._gap_seconds * (self._answers.tokens - 1)
            self._loop.call_later(whole_seconds, self._send_json, self._answers.whole(request))
            return
        chunks = self._answers.stream(request)
        if self._first_token_seconds == 0 and self._gap_seconds == 0:
            self._transport.write(STREAM_HEAD + b"".join(chunks))
            return
        self._transport.write(STREAM_HEAD)
        # The opening chunk carries no token: it leaves with the first one, the closing chunk with the last.
        pieces = [chunks[0] + chunks[1], *chunks[2:-2], chunks[-2] + chunks[-1]]
        self._send_later(iter(pieces), self._loop.time() + self._first_token_seconds)

    def _send_later(self, pieces: Iterator[bytes], due: float) -> None:
        piece = next(pieces, None)
        if piece is not None:
            self._timer = self._loop.call_at(due, self._send_due, piece, pieces, due)

    def _send_due(self, piece: bytes, pieces: Iterator[bytes], due: float) -> None:
        self._transport.write(piece)
        self._send_later(pieces, due + self._gap_seconds)

    def _send_json(self, body: bytes) -> None:
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
        self._transport.write(head + body)


async def serve(port: int, *, tokens: int, first_token_ms: float, gap_ms: float) -> None:
    """Serve until cancelled."""
    answers = Answers(tokens)
    server = await asyncio.get_running_loop().create_server(
        lambda: MockModel(answers, first_token_ms / 1000, gap_ms / 1000), "127.0.0.1", port, backlog=2048
    )
    await server.serve_forever()


def main() -> None:
    """Command line of the mock model."""
    parser = argparse.ArgumentParser(description="A mock OpenAI-compatible model server on 127.0.0.1.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--tokens", type=int, default=ANSWER_TOKENS)
    parser.add_argument("--first-token-ms", type=float, default=0)
    parser.add_argument("--gap-ms", type=float, default=0)
    options = parser.parse_args()
    uvloop.run(serve(options.port, tokens=options.tokens, first_token_ms=options.first_token_ms, gap_ms=options.gap_ms))


if __name__ == "__main__":
    main()
