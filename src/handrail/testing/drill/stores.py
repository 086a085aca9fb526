"""The cells of our own stores: a turn that can't be stored is refused at once, and nothing of it is kept."""

import asyncio
import resource
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, AsyncExitStack, contextmanager
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from handrail.core.errors import HandrailError
from handrail.db import StoreUnavailable
from handrail.flows.conversations import open_conversation
from handrail.flows.services import Services
from handrail.flows.turn import take_turn
from handrail.shared_state import Valkey
from handrail.testing.drill.calls import CUSTOMER, MOST_SECONDS, PORTS, Result, release
from handrail.testing.drill.faults import fault_of
from handrail.testing.drill.matrix import Cell
from handrail.testing.drill.services import drill_services
from handrail.testing.drill.upstream import Upstream
from handrail.testing.fault_proxy import FaultProxy

# A pool throws broken connections away as it finds them, and a breaker probes now and then.
RECOVERY_SECONDS = 10.0


async def run_sqlite(cells: Sequence[Cell], folder: Path) -> list[Result]:
    if not cells:
        return []
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(Upstream())
        services = await stack.enter_async_context(drill_services(folder))
        await release(services, dict.fromkeys(PORTS, upstream.port))
        return [await _cell(services, cell, _full_disk) for cell in cells]


async def run_postgres(cells: Sequence[Cell], folder: Path, database_url: str) -> list[Result]:
    """Through a proxy in front of the server, which must be on 127.0.0.1."""
    return await _run_behind(cells, database_url, partial(_on_postgres, folder)) if cells else []


async def run_valkey(cells: Sequence[Cell], folder: Path, valkey_url: str) -> list[Result]:
    """Likewise: without it each process counts for itself, and turns go on."""
    return await _run_behind(cells, valkey_url, partial(_on_valkey, folder)) if cells else []


def _on_postgres(folder: Path, url: str) -> AbstractAsyncContextManager[Services]:
    return drill_services(folder, url)


def _on_valkey(folder: Path, url: str) -> AbstractAsyncContextManager[Services]:
    return drill_services(folder, valkey_url=url)


async def _run_behind(
    cells: Sequence[Cell], url: str, opened: Callable[[str], AbstractAsyncContextManager[Services]]
) -> list[Result]:
    address = urlsplit(url)
    assert address.port is not None, "the url of a server under test names its port"
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(Upstream())
        proxy = await stack.enter_async_context(FaultProxy(address.port))
        who = f"{address.netloc.rpartition('@')[0]}@" if "@" in address.netloc else ""
        proxied = address._replace(netloc=f"{who}127.0.0.1:{proxy.port}").geturl()
        services = await stack.enter_async_context(opened(proxied))
        await release(services, dict.fromkeys(PORTS, upstream.port))
        return [await _cell(services, cell, partial(_faulty, proxy, cell.fault)) for cell in cells]


async def _cell(services: Services, cell: Cell, broken: Callable[[], AbstractContextManager[None]]) -> Result:
    conversation = await open_conversation(services, CUSTOMER, "drill")
    problems: list[str] = []
    began = time.perf_counter()
    with broken():
        try:
            async with asyncio.timeout(MOST_SECONDS):
                observed = await _turn(services, conversation.id)
        except StoreUnavailable as refused:
            observed = "refused"
            if refused.retry_after_seconds is None:
                problems.append("the client was not told when to come back")
        except TimeoutError:
            observed = None
            problems.append(f"the turn was neither taken nor refused within {MOST_SECONDS:g} s")
    seconds = time.perf_counter() - began
    if not await _goes_on(services, conversation.id):
        problems.append(f"the conversation did not go on within {RECOVERY_SECONDS:g} s of the repair")
    if services.valkey is not None and not await _is_used_again(services.valkey):
        problems.append(f"Valkey was not used again within {RECOVERY_SECONDS:g} s of the repair")
    found = await services.conversations.find("default", conversation.id)
    if found.turn_count != 1 + (observed == "primary"):
        problems.append(f"the conversation has {found.turn_count} turns: something was half stored")
    return cell, observed, tuple(problems), seconds


async def _turn(services: Services, conversation_id: str) -> str:
    stream = await take_turn(services, CUSTOMER, conversation_id, "hello")
    result = await stream.wait()
    if (task := services.running.get(stream.turn_id)) is not None:
        await asyncio.wait([task])
    return "primary" if result["status"] == "completed" else f"turn {result['status']}"


async def _goes_on(services: Services, conversation_id: str) -> bool:
    """Whether the next turn is taken and answered, once the fault is gone."""
    ends = time.monotonic() + RECOVERY_SECONDS
    while time.monotonic() < ends:
        try:
            return await _turn(services, conversation_id) == "primary"
        except HandrailError:
            await asyncio.sleep(0.1)
    return False


async def _is_used_again(valkey: Valkey) -> bool:
    for _ in range(int(RECOVERY_SECONDS * 10)):
        if valkey.is_up:
            return True
        await asyncio.sleep(0.1)
    return False


@contextmanager
def _faulty(proxy: FaultProxy, fault: str) -> Generator[None]:
    proxy.fault = fault_of(fault, streams=False)
    try:
        yield
    finally:
        proxy.fault = None


@contextmanager
def _full_disk() -> Generator[None]:
    """No file of this process may grow: what a full disk or a used up quota looks like to it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
