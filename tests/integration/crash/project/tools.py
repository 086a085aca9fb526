"""Tools whose effects are files outside of the server: one line of `effects/<tool call>` for each time one happened."""

import asyncio
import os
import time
from pathlib import Path
from typing import Any

from handrail import ToolContext, tool

# The longest work is 1.2 seconds.
SECONDS = 1.6


def _file(name: str) -> Path:
    return Path(os.environ["CRASH_EFFECTS"]) / name


def _happen(name: str) -> None:
    """On the disk when this returns, however the process ends after that."""
    file = os.open(_file(name), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(file, f"{os.getpid()} {time.time_ns()}\n".encode())
        os.fsync(file)
    finally:
        os.close(file)


def _happen_once(name: str) -> None:
    """As `_happen`, whole or not at all; `FileExistsError` when it has happened."""
    draft = f".{name}.{os.getpid()}"
    _happen(draft)
    try:
        os.link(_file(draft), _file(name))
    finally:
        os.unlink(_file(draft))


def happened(before: int, after: int, ctx: ToolContext) -> dict[str, Any] | None:
    """What the outside world knows of this call; a file without its line is what a killed process left of a try."""
    file = _file(ctx.tool_call_id)
    return {"done": True} if file.exists() and file.stat().st_size else None


@tool(effect="read", timeout_seconds=SECONDS)
async def look(before: int, after: int) -> dict[str, Any]:
    """Changes nothing and takes a while."""
    await asyncio.sleep((before + after) / 1000)
    return {"seen": before}


@tool(effect="write", timeout_seconds=SECONDS, idempotent=True, reconcile=happened)
async def put(before: int, after: int, ctx: ToolContext) -> dict[str, Any]:
    """Happens once for every key, because the other side sees to that."""
    await asyncio.sleep(before / 1000)
    try:
        _happen_once(ctx.tool_call_id)
    except FileExistsError:
        return {"done": True, "again": True}
    await asyncio.sleep(after / 1000)
    return {"done": True}


@tool(effect="write", timeout_seconds=SECONDS, reconcile=happened)
async def pay(before: int, after: int, ctx: ToolContext) -> dict[str, Any]:
    """Happens as often as it is called; the other side can be asked whether it did."""
    await asyncio.sleep(before / 1000)
    _happen(ctx.tool_call_id)
    await asyncio.sleep(after / 1000)
    return {"done": True}


@tool(effect="write", timeout_seconds=SECONDS)
def mail(before: int, after: int, ctx: ToolContext) -> dict[str, Any]:
    """Happens as often as it is called, in a thread, and nobody can be asked."""
    time.sleep(before / 1000)
    _happen(ctx.tool_call_id)
    time.sleep(after / 1000)
    return {"done": True}


@tool(effect="write", timeout_seconds=SECONDS, reconcile=happened)
async def ship(before: int, after: int, ctx: ToolContext) -> dict[str, Any]:
    """As `pay`, after a person has said yes."""
    await asyncio.sleep(before / 1000)
    _happen(ctx.tool_call_id)
    await asyncio.sleep(after / 1000)
    return {"done": True}
