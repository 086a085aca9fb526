"""The cells of models and tools: one turn under the fault, and what transcript, client and shop say of it."""

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from handrail.core import events, json
from handrail.core.events import Event
from handrail.core.principal import Principal
from handrail.flows.conversations import open_conversation
from handrail.flows.services import Services
from handrail.flows.turn import take_turn
from handrail.serving.conversations import StoredToolCall
from handrail.serving.resilience import Breakers, Retries, RetryPolicy
from handrail.testing.drill.faults import fault_of
from handrail.testing.drill.matrix import Cell
from handrail.testing.drill.services import drill_services
from handrail.testing.drill.shop import shop
from handrail.testing.drill.upstream import Upstream
from handrail.testing.fault_proxy import FaultProxy
from handrail.testing.faults import Refused

Result = tuple[Cell, str | None, tuple[str, ...], float]
CUSTOMER = Principal("default", "demo-customer")
MOST_SECONDS = 20.0
PORTS = ("first", "second", "read", "copy", "keyed", "write")
_BEHIND: Mapping[str, str] = {
    "model_primary": "first",
    "model_secondary": "second",
    "read_tool": "read",
    "secondary_tool": "copy",
    "idempotent_write": "keyed",
    "other_write": "write",
}
_DOWN_TOO: Mapping[str, str] = {"model_secondary": "first", "secondary_tool": "read"}
_MESSAGES: Mapping[str, str] = {
    "model_primary": "hello",
    "model_secondary": "hello",
    "read_tool": "call get_order",
    "secondary_tool": "call get_order",
    "idempotent_write": "call renew",
    "other_write": "call refund",
}


async def run_calls(component: str, cells: Sequence[Cell], folder: Path, opening: asyncio.Lock) -> list[Result]:
    """All cells of one component, each from a fresh start. Migrations can't run twice at once in one process."""
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(Upstream())
        proxies = {name: await stack.enter_async_context(FaultProxy(upstream.port)) for name in PORTS}
        async with opening:
            services = await stack.enter_async_context(drill_services(folder))
        await release(services, {name: proxy.port for name, proxy in proxies.items()})
        row = _Row(component, services, proxies, upstream)
        return [await row.run(cell) for cell in cells]


async def release(services: Services, ports: Mapping[str, int]) -> None:
    made = await services.releases.create("default", shop("drill", ports), author="drill")
    await services.releases.use("default", made.id)


class _Row:
    def __init__(
        self, component: str, services: Services, proxies: Mapping[str, FaultProxy], upstream: Upstream
    ) -> None:
        self._component = component
        self._services = services
        self._proxies = proxies
        self._upstream = upstream

    async def run(self, cell: Cell) -> Result:
        services, streams = self._services, self._component.startswith("model")
        # What the cell before has opened or used up says nothing about this one.
        services.breakers = Breakers(services.clock)
        services.retries = Retries(random.Random(0), RetryPolicy(attempts=2, base_seconds=0.05))
        if self._component == "secondary_tool":
            # So that there is a last good value.
            await self._say(_MESSAGES[self._component])
        began = time.perf_counter()
        self._break(cell.fault, streams=streams)
        try:
            seen, result = await self._say(_MESSAGES[self._component])
        except TimeoutError:
            return cell, None, (f"the turn did not end within {MOST_SECONDS:g} s",), time.perf_counter() - began
        finally:
            self._mend()
        seconds = time.perf_counter() - began
        calls = await services.conversations.turn_calls("default", str(result["id"]))
        observed = _of_model(seen, result) if streams else _of_tool(calls)
        problems = [*_told(seen, result, observed), *self._done(calls)]
        problems += await self._stored(seen, result)
        return cell, observed, tuple(problems), seconds

    def _break(self, fault: str, *, streams: bool) -> None:
        self._upstream.effects.clear()
        if (other := _DOWN_TOO.get(self._component)) is not None:
            self._proxies[other].fault = Refused()
        self._upstream.is_large = fault == "too_large" and not streams
        self._proxies[_BEHIND[self._component]].fault = fault_of(fault, streams=streams)

    def _mend(self) -> None:
        self._upstream.is_large = False
        for proxy in self._proxies.values():
            proxy.fault = None

    async def _say(self, text: str) -> tuple[list[Event], Mapping[str, Any]]:
        services = self._services
        conversation = await open_conversation(services, CUSTOMER, "drill")
        stream = await take_turn(services, CUSTOMER, conversation.id, text)
        async with asyncio.timeout(MOST_SECONDS):
            seen = [event async for event in stream.follow()]
            if (task := services.running.get(stream.turn_id)) is not None:
                await asyncio.wait([task])
        return seen, await stream.wait()

    def _done(self, calls: Sequence[StoredToolCall]) -> list[str]:
        """Nothing done twice, nothing reported done that was not, nothing reported undone that was."""
        if not self._component.endswith("write"):
            return []
        times, status = sum(self._upstream.effects.values()), calls[0].status
        if times > 1:
            return [f"the write happened {times} times"]
        if status in ("completed", "failed") and times != (status == "completed"):
            return [f"the write is {status}, and happened {times} times"]
        return []

    async def _stored(self, seen: Sequence[Event], result: Mapping[str, Any]) -> list[str]:
        """What the client shows is what is stored."""
        messages = await self._services.conversations.turn_messages("default", str(result["id"]))
        stored = next((each.content for each in reversed(messages) if each.role == "assistant"), "")
        return [] if _text(seen) == stored else ["the client's text is not the transcript's"]


def _of_model(seen: Sequence[Event], result: Mapping[str, Any]) -> str:
    ladder = result.get("ladder") or ()
    if ladder and ladder[-1]["rung"] == "secondary" and any(each.name == events.MESSAGE_RESTARTED for each in seen):
        return "restart"
    return ladder[-1]["rung"] if ladder else "primary"


def _of_tool(calls: Sequence[StoredToolCall]) -> str:
    (call,) = calls
    if call.status == "unknown":
        return "unknown"
    if call.ladder:
        return str(call.ladder[-1]["rung"])
    return "cut" if "truncated" in json.loads(call.result or "{}") else "primary"


def _told(seen: Sequence[Event], result: Mapping[str, Any], observed: str) -> list[str]:
    """What must be said of an outcome: to the user in words, to people by a case, in events by an age."""
    problems: list[str] = []
    if not _text(seen).strip():
        problems.append("the user was told nothing")
    if observed in ("honest", "unknown") and not result.get("escalation_id"):
        problems.append("no person was told")
    if observed == "cached" and not any("age_seconds" in each.data for each in seen):
        problems.append("the age of the value was not told")
    return problems


def _text(seen: Sequence[Event]) -> str:
    """What a client shows: deltas appended, a restart in place of all."""
    text = ""
    for event in seen:
        if event.name == events.MESSAGE_RESTARTED:
            text = str(event.data["text"])
        elif event.name == events.MESSAGE_DELTA:
            text += str(event.data["text"])
    return text
