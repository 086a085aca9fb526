"""The peer: a bare FastAPI endpoint over pydantic-ai, the same tools and streamed model, no rails and no storage.

Written as its documentation suggests: one agent and one client for the process, `run_stream_events` for the turn. Only
the HTTP client differs from the default, which refuses more than 5 s of waiting for a connection and would fail rather
than be slow.
"""

from __future__ import annotations

import argparse
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx2
import orjson
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel
from pydantic_ai import Agent, PartDeltaEvent, PartStartEvent, TextPart, TextPartDelta
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from bench import dialogue


class TurnRequest(BaseModel):
    """The body of a turn."""

    message: str


def create_agent(model_url: str) -> Agent[None, str]:
    """The agent with its two tools, over a client that all turns share."""
    client = httpx2.AsyncClient(
        timeout=httpx2.Timeout(600, connect=200),
        limits=httpx2.Limits(max_connections=None, max_keepalive_connections=200),
    )
    provider = OpenAIProvider(base_url=model_url, api_key="unused", http_client=client)
    agent = Agent(OpenAIChatModel("mock", provider=provider), instructions=dialogue.INSTRUCTIONS)

    @agent.tool_plain
    async def lookup_order(order_id: str) -> dict[str, str]:
        """Where an order is and when it arrives."""
        return dialogue.lookup_order(order_id)

    @agent.tool_plain
    async def lookup_stock(sku: str) -> dict[str, str | int]:
        """Whether a product is in stock."""
        return dialogue.lookup_stock(sku)

    return agent


async def run_turn(agent: Agent[None, str], message: str) -> AsyncIterator[str]:
    """The text of one turn, piece by piece."""
    async with agent.run_stream_events(message) as events:
        async for event in events:
            match event:
                case PartStartEvent(part=TextPart(content=text)) if text:
                    yield text
                case PartDeltaEvent(delta=TextPartDelta(content_delta=text)) if text:
                    yield text
                case _:
                    pass


def _turn(conversation_id: str, text: str) -> dict[str, Any]:
    return {"id": f"turn_{uuid4().hex}", "object": "turn", "conversation_id": conversation_id, "status": "completed",
            "message": {"id": f"msg_{uuid4().hex}", "content": text}}  # fmt: skip


async def _events(texts: AsyncIterator[str], conversation_id: str) -> AsyncIterator[bytes]:
    whole = ""
    async for text in texts:
        whole += text
        yield b"event: message.delta\ndata: %b\n\n" % orjson.dumps({"text": text})
    yield b"event: turn.completed\ndata: %b\n\n" % orjson.dumps(_turn(conversation_id, whole))


def create_app(model_url: str) -> FastAPI:
    """The whole server."""
    app = FastAPI()
    agent = create_agent(model_url)

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.post("/v1/conversations", status_code=201)
    async def create_conversation() -> dict[str, str]:
        return {"id": f"conv_{uuid4().hex}", "object": "conversation"}

    @app.post("/v1/conversations/{conversation_id}/turns", response_model=None)
    async def create_turn(
        conversation_id: str, body: TurnRequest, request: Request
    ) -> StreamingResponse | dict[str, Any]:
        texts = run_turn(agent, body.message)
        if "text/event-stream" in request.headers.get("accept", ""):
            return StreamingResponse(_events(texts, conversation_id), media_type="text/event-stream")
        return _turn(conversation_id, "".join([text async for text in texts]))

    return app


def main() -> None:
    """Command line of the peer."""
    parser = argparse.ArgumentParser(description="The pydantic-ai peer of the benchmark on 127.0.0.1.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--model-url", required=True)
    options = parser.parse_args()
    app = create_app(options.model_url)
    uvicorn.run(app, port=options.port, log_level="warning", access_log=False, loop="uvloop", http="httptools")


if __name__ == "__main__":
    main()
