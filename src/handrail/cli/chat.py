"""`handrail chat`: a terminal client of the public API."""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from typing import Any

import aiohttp

from handrail.cli.waiting import ANSWER, Waiting
from handrail.core.errors import UsageError
from handrail.db.owner import holder
from handrail.settings import Settings


def chat_in_terminal(
    url: str | None, agent: str | None, conversation: str | None, key: str | None, settings: Settings
) -> None:
    """Read lines, stream answers, until end of input or Ctrl-C."""
    address = url or holder(settings.data_dir) or f"http://127.0.0.1:{settings.port}"
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_chat(address.rstrip("/"), agent, conversation, key))


async def _chat(address: str, agent: str | None, conversation: str | None, key: str | None) -> None:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=5)
    async with aiohttp.ClientSession(address, headers=headers, timeout=timeout) as session:
        try:
            waiting = Waiting(session)
            earlier = conversation
            conversation = conversation or await _open(session, agent)
            print(f"Conversation {conversation} at {address}. Ctrl-D ends.", file=sys.stderr)
            if earlier:
                await waiting.find(conversation)
            while (line := await asyncio.to_thread(_ask)) is not None:
                if line.startswith(ANSWER):
                    await waiting.answer(line.removeprefix(ANSWER).strip())
                elif line.strip():
                    await _say(session, conversation, line, waiting)
            await waiting.leave(conversation)
        except aiohttp.ClientConnectorError as error:
            raise UsageError(
                f"nothing answers at {address}; start a server with `handrail demo` or `handrail serve`, "
                "or name another with --url"
            ) from error


def _ask() -> str | None:
    try:
        return input("you> ")
    except EOFError:
        print()
        return None


async def _open(session: aiohttp.ClientSession, agent: str | None) -> str:
    body = {"agent": agent} if agent else {}
    async with session.post("/v1/conversations", json=body) as response:
        return (await _json(response))["id"]


async def _say(session: aiohttp.ClientSession, conversation: str, line: str, waiting: Waiting) -> None:
    request = session.post(
        f"/v1/conversations/{conversation}/turns", json={"message": line}, headers={"accept": "text/event-stream"}
    )
    async with request as response:
        if response.status != 200:
            print(f"! {(await _error(response))}")
            return
        print("agent> ", end="", flush=True)
        async for name, data in _events(response):
            _show(name, data)
            if name == "turn.requires_action":
                waiting.watch(data["id"])
        print()


def _show(name: str, data: dict[str, Any]) -> None:
    if name == "message.delta":
        print(data["text"], end="", flush=True)
    elif name == "message.restarted":
        print(f"\n{data['text']}", end="", flush=True)
    elif name == "tool.started":
        print(f"[{data['name']}] ", end="", flush=True)


async def _events(response: aiohttp.ClientResponse) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    name = ""
    async for raw in response.content:
        line = raw.decode().rstrip("\r\n")
        if line.startswith("event: "):
            name = line[7:]
        elif line.startswith("data: "):
            yield name, json.loads(line[6:])


async def _json(response: aiohttp.ClientResponse) -> dict[str, Any]:
    if response.status >= 400:
        raise UsageError(await _error(response))
    return await response.json()


async def _error(response: aiohttp.ClientResponse) -> str:
    if response.status == 401:
        return "this server wants an API key: give it with --key, or in HANDRAIL_API_KEY"
    try:
        return (await response.json())["error"]["message"]
    except (ValueError, KeyError, aiohttp.ContentTypeError):
        return f"the server answered {response.status}"
