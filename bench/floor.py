"""The floor: the same agent loop and the same durable writes with no rails, by the cheapest means we know in Python.

Starlette, aiohttp by hand, orjson, SQLite `synchronous=FULL` with group commit. What Handrail costs above this is what
its rails cost; what this costs above the mock model is the price of answering at all.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from bench.dialogue import INSTRUCTIONS, TOOL_SCHEMAS, lookup_order, lookup_stock
from bench.floor_store import COMPLETE_TURN, INSERT_CONVERSATION, INSERT_TURN, Store, insert_message, new_id

TOOLS: dict[str, Callable[..., dict[str, Any]]] = {"lookup_order": lookup_order, "lookup_stock": lookup_stock}


@dataclass(slots=True)
class ModelAnswer:
    """What one model call has streamed so far."""

    text: str = ""
    tool_calls: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    usage: dict[str, int] = field(default_factory=dict[str, int])

    def add(self, chunk: dict[str, Any]) -> str:
        """Take in one chunk of the stream; the text it brought."""
        self.usage = chunk.get("usage") or self.usage
        if not chunk["choices"]:
            return ""
        delta = chunk["choices"][0]["delta"]
        for part in delta.get("tool_calls") or ():
            self._add_tool_call(part)
        text = delta.get("content") or ""
        self.text += text
        return text

    def _add_tool_call(self, part: dict[str, Any]) -> None:
        if part["index"] == len(self.tool_calls):
            self.tool_calls.append({"id": part["id"], "type": "function", "function": dict(part["function"])})
        else:
            self.tool_calls[part["index"]]["function"]["arguments"] += part["function"]["arguments"]


class Agent:
    """Model, tools in parallel, model: until an answer has no tool calls."""

    def __init__(self, session: aiohttp.ClientSession, model_url: str, store: Store) -> None:
        self._session = session
        self._url = f"{model_url}/chat/completions"
        self._store = store

    async def run(self, conversation_id: str, turn_id: str, message: str) -> AsyncIterator[str]:
        """Run one turn; yields the text as it comes, one piece for each read from the network."""
        transcript = [{"role": "system", "content": INSTRUCTIONS}, *self._store.texts(conversation_id)]
        transcript.append({"role": "user", "content": message})
        await self._store.write(
            (INSERT_TURN, (turn_id, conversation_id)), insert_message(conversation_id, turn_id, "user", message)
        )
        while True:
            answer = ModelAnswer()
            async for text in self._ask(transcript, answer):
                yield text
            if not answer.tool_calls:
                break
            transcript += await self._run_tools(conversation_id, turn_id, answer)
        await self._store.write(
            insert_message(conversation_id, turn_id, "assistant", answer.text), (COMPLETE_TURN, (turn_id,))
        )

    async def _ask(self, transcript: list[dict[str, Any]], answer: ModelAnswer) -> AsyncIterator[str]:
        body = {
            "model": "mock",
            "messages": transcript,
            "tools": TOOL_SCHEMAS,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        rest = b""
        async with self._session.post(self._url, data=orjson.dumps(body)) as response:
            async for data in response.content.iter_any():
                *events, rest = (rest + data).split(b"\n\n")
                text = "".join([answer.add(orjson.loads(event[6:])) for event in events if event != b"data: [DONE]"])
                if text:
                    yield text

    async def _run_tools(self, conversation_id: str, turn_id: str, answer: ModelAnswer) -> list[dict[str, Any]]:
        results = await asyncio.gather(*(_run_tool(call) for call in answer.tool_calls))
        calls = orjson.dumps(answer.tool_calls).decode()
        await self._store.write(
            insert_message(conversation_id, turn_id, "assistant", answer.text, tool_calls=calls),
            *(
                insert_message(conversation_id, turn_id, "tool", result["content"], tool_call_id=result["tool_call_id"])
                for result in results
            ),
        )
        return [{"role": "assistant", "content": answer.text or None, "tool_calls": answer.tool_calls}, *results]


async def _run_tool(call: dict[str, Any]) -> dict[str, Any]:
    function = call["function"]
    result = TOOLS[function["name"]](**orjson.loads(function["arguments"]))
    return {"role": "tool", "tool_call_id": call["id"], "content": orjson.dumps(result).decode()}


class EventStream:
    """An SSE answer as a bare ASGI application: Starlette's own starts a task group for each response."""

    def __init__(self, events: AsyncIterator[bytes]) -> None:
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del scope, receive
        headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-cache")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        async for event in self._events:
            await send({"type": "http.response.body", "body": event, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _json(body: dict[str, Any], status: int = 200) -> Response:
    return Response(orjson.dumps(body), status, media_type="application/json")


def _turn(turn_id: str, conversation_id: str, text: str) -> dict[str, Any]:
    message = {"id": new_id("msg"), "content": text}
    return {"id": turn_id, "object": "turn", "conversation_id": conversation_id, "status": "completed",
            "message": message}  # fmt: skip


async def healthz(request: Request) -> Response:
    del request
    return _json({"status": "ok"})


async def create_conversation(request: Request) -> Response:
    conversation_id = new_id("conv")
    await request.app.state.store.write((INSERT_CONVERSATION, (conversation_id,)))
    return _json({"id": conversation_id, "object": "conversation"}, 201)


async def create_turn(request: Request) -> Response | EventStream:
    message = orjson.loads(await request.body())["message"]
    conversation_id, turn_id = request.path_params["id"], new_id("turn")
    texts = request.app.state.agent.run(conversation_id, turn_id, message)
    if "text/event-stream" in request.headers.get("accept", ""):
        return EventStream(_events(texts, turn_id, conversation_id))
    return _json(_turn(turn_id, conversation_id, "".join([text async for text in texts])))


async def _events(texts: AsyncIterator[str], turn_id: str, conversation_id: str) -> AsyncIterator[bytes]:
    whole = ""
    async for text in texts:
        whole += text
        yield b"event: message.delta\ndata: %b\n\n" % orjson.dumps({"text": text})
    yield b"event: turn.completed\ndata: %b\n\n" % orjson.dumps(_turn(turn_id, conversation_id, whole))


def create_app(model_url: str, database: Path) -> Starlette:
    """The whole server."""

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncGenerator[None]:
        store = Store(database)
        connector = aiohttp.TCPConnector(limit=0)
        timeout = aiohttp.ClientTimeout(total=None)
        headers = {"content-type": "application/json"}
        async with aiohttp.ClientSession(connector=connector, timeout=timeout, headers=headers) as session:
            app.state.store, app.state.agent = store, Agent(session, model_url, store)
            yield
        store.close()

    routes = [
        Route("/healthz", healthz),
        Route("/v1/conversations", create_conversation, methods=["POST"]),
        Route("/v1/conversations/{id}/turns", create_turn, methods=["POST"]),
    ]
    return Starlette(routes=routes, lifespan=lifespan)


def main() -> None:
    """Command line of the floor."""
    parser = argparse.ArgumentParser(description="The floor of the benchmark on 127.0.0.1.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--model-url", required=True)
    parser.add_argument("--database", type=Path, required=True)
    options = parser.parse_args()
    app = create_app(options.model_url, options.database)
    uvicorn.run(app, port=options.port, log_level="warning", access_log=False, loop="uvloop", http="httptools")


if __name__ == "__main__":
    main()
