"""A model that does what the user's message plans, so that it says the same again after a crash.

The message is JSON: `rounds` of tools, each a list of [name, arguments], then the words of `answer`, streamed one
`gap` (milliseconds) after the other.
"""

import asyncio
import json
from typing import Any

from aiohttp import web


class Planner:
    """An OpenAI-compatible endpoint on 127.0.0.1; outside of the servers that are killed."""

    def __init__(self) -> None:
        app = web.Application(client_max_size=8 * 1024 * 1024)
        app.router.add_post("/v1/chat/completions", self._complete)
        # A server that was killed does not wait for its answer.
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        self.url = ""

    async def start(self) -> None:
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}/v1"

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        messages = (await request.json())["messages"]
        asked = max(number for number, message in enumerate(messages) if message["role"] == "user")
        plan, done = json.loads(messages[asked]["content"]), sum("tool_calls" in each for each in messages[asked:])
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        try:
            if done < len(plan["rounds"]):
                await _ask(response, plan["rounds"][done], done)
            else:
                await _say(response, plan["answer"], plan["gap"] / 1000)
        except OSError:
            pass
        return response


async def _ask(response: web.StreamResponse, calls: list[Any], done: int) -> None:
    if not done:
        await _send(response, {"content": "I begin."})
    asked = [
        {"index": number, "id": f"p{done}_{number}", "type": "function",
         "function": {"name": name, "arguments": json.dumps(arguments)}}
        for number, (name, arguments) in enumerate(calls)
    ]  # fmt: skip
    await _send(response, {"tool_calls": asked})
    await _end(response, "tool_calls")


async def _say(response: web.StreamResponse, answer: str, gap: float) -> None:
    for word in answer.split(" "):
        await _send(response, {"content": f"{word} "})
        await asyncio.sleep(gap)
    await _end(response, "stop")


async def _send(response: web.StreamResponse, delta: dict[str, Any], finish: str | None = None) -> None:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    chunk = {"id": "c", "object": "chat.completion.chunk", "model": "planner", "choices": [choice]}
    await response.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")


async def _end(response: web.StreamResponse, reason: str) -> None:
    await _send(response, {}, reason)
    await response.write(b"data: [DONE]\n\n")
