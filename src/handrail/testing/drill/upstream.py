"""What the drill's shop depends on: two models, an order system and its stand-in, on one port of 127.0.0.1.

A model answers by what the user wrote: `call NAME` asks for that tool, everything else gets a sentence.
"""

import asyncio
import json
from collections import Counter
from typing import Any, Self

SENTENCES = {"first": ["All is ", "well ", "here, says ", "the first."], "second": ["The second ", "answers."]}
LARGE = "x" * 200_000


class Upstream:
    """Serves over HTTP/1.1, one request a connection.

    Attributes:
        effects: how often each write happened, by path and key; a keyed write happens once a key.
        is_large: answers of the shop are far larger than they should be.
    """

    def __init__(self) -> None:
        self.port = 0
        self.effects: Counter[str] = Counter()
        self.is_large = False
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = next((line for line in head.lower().split("\r\n") if line.startswith("content-length:")), ":0")
            body = await reader.readexactly(int(length.partition(":")[2]))
            path = head.split(" ", 2)[1]
            if path.endswith("/chat/completions"):
                await _stream(writer, _model_events(path.split("/")[1], json.loads(body)))
            else:
                answer = json.dumps(self._shop(path, head)).encode()
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n")
                writer.write(b"content-length: %d\r\n\r\n" % len(answer) + answer)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()

    def _shop(self, path: str, head: str) -> dict[str, Any]:
        key = next((line[5:].strip() for line in head.split("\r\n") if line.lower().startswith("key:")), "")
        if path == "/keyed_write":
            self.effects[f"{path} {key}"] = 1
        elif path == "/write":
            self.effects[f"{path} {key}"] += 1
        answer: dict[str, Any] = {"from": path.strip("/"), "status": "shipped"}
        return {**answer, "text": LARGE} if self.is_large else answer


def _model_events(model: str, request: dict[str, Any]) -> list[dict[str, Any]]:
    said = request["messages"]
    asked = next(str(each["content"]) for each in reversed(said) if each["role"] == "user")
    if "call " in asked and said[-1]["role"] != "tool":
        call = {"index": 0, "id": "call_1", "type": "function"}
        function = {"name": asked.rpartition("call ")[2].split()[0], "arguments": '{"order": "A1001"}'}
        return [_event({"tool_calls": [{**call, "function": function}]}), _event({}, "tool_calls")]
    return [*(_event({"content": part}) for part in SENTENCES[model]), _event({}, "stop")]


def _event(delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": {"role": "assistant", **delta}, "finish_reason": finish_reason}
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "drill", "choices": [choice]}


async def _stream(writer: asyncio.StreamWriter, events: list[dict[str, Any]]) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
    for event in events:
        writer.write(b"data: " + json.dumps(event).encode() + b"\n\n")
        await writer.drain()
        # Apart, so that a fault that counts events can stand between them.
        await asyncio.sleep(0.005)
    writer.write(b"data: [DONE]\n\n")
    await writer.drain()
