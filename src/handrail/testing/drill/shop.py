"""The drill's own agent project: a shop whose tools and models live behind the ports that it is given."""

from collections.abc import Mapping

from handrail.delivery.releases import Sources

# Above what a healthy answer takes on a busy machine, and short enough to wait for in every cell.
CALL_SECONDS = 1.0
FIRST_TOKEN_SECONDS = 1.5
RETRY_AFTER_SECONDS = 2

_AGENT = """
name: {name}
models:
  first: {{provider: openai_compatible, base_url: "http://127.0.0.1:{first}/first", model: first, fallbacks: [second]}}
  second: {{provider: openai_compatible, base_url: "http://127.0.0.1:{second}/second", model: second}}
default_model: first
limits: {{max_steps: 4, max_tool_calls: 4, deadline_seconds: 15}}
handoff: {{team: drill}}
"""
_TOOLS = '''
"""Each tool is one HTTP request, as a tool of a real agent is."""

import asyncio
import json

from handrail import ToolContext, ToolUnavailable, tool


async def ask(port: int, path: str, key: str = "") -> object:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"GET {{path}} HTTP/1.1\\r\\nhost: shop\\r\\nkey: {{key}}\\r\\n\\r\\n".encode())
        answer = await reader.read(-1)
    finally:
        writer.close()
    head, blank, body = answer.partition(b"\\r\\n\\r\\n")
    if not blank:
        raise ConnectionResetError("the answer broke off in its head")
    headers = dict(line.lower().split(": ", 1) for line in head.decode().split("\\r\\n")[1:])
    if len(body) < int(headers.get("content-length", 0)):
        raise ConnectionResetError("the answer broke off")
    if head.split()[1] == b"429":
        raise ToolUnavailable("the shop has too much to do", retry_after_seconds=float(headers["retry-after"]))
    return json.loads(body)


async def from_the_copy(order: str) -> object:
    return await ask({copy}, "/copy")


@tool(effect="read", timeout_seconds={seconds}, secondary=from_the_copy, last_good_seconds=600)
async def get_order(order: str) -> object:
    """Look up an order."""
    return await ask({read}, "/orders")


@tool(effect="write", idempotent=True, timeout_seconds={seconds}, retries=1)
async def renew(order: str, context: ToolContext) -> object:
    """Renew an order, once for each key."""
    return await ask({keyed}, "/keyed_write", context.idempotency_key)


@tool(effect="write", timeout_seconds={seconds})
async def refund(order: str, context: ToolContext) -> object:
    """Refund an order, each time it is asked."""
    return await ask({write}, "/write", context.idempotency_key)
'''


def shop(name: str, ports: Mapping[str, int]) -> Sources:
    """The project, with the ports of `first`, `second`, `read`, `copy`, `keyed` and `write` written into it."""
    files = {
        "agent.yaml": _AGENT.format(name=name, **ports),
        "instructions.md": "You answer the drill.\n",
        "tools.py": _TOOLS.format(seconds=CALL_SECONDS, **ports),
    }
    return Sources({path: text.encode() for path, text in files.items()})
