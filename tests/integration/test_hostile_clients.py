"""A thousand clients that mean harm: others are answered meanwhile, and the memory stays what it was."""

import asyncio
import contextlib
import os
import resource
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.integration.processes import Process, Provider, agent_project, serving
from tests.integration.test_overload import resident_bytes

CLIENTS = int(os.environ.get("HANDRAIL_SOAK_HOSTILE", "1000"))
PER_ADDRESS = 200
TURNS = 8
MOST_GROWTH_BYTES = 96 * 1024 * 1024
POST = b"POST /v1/conversations HTTP/1.1\r\nhost: %s\r\ncontent-type: application/json\r\n"
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
# Any of this network is this machine, and only 127.0.0.1 is not counted.
SOURCES = [f"127.0.0.{number}" for number in range(2, 8)]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Process]:
    provider = Provider()
    project = agent_project(tmp_path / "talker", provider)
    limits = {
        "HANDRAIL_RATE_LIMIT__BURST": "1000",
        "HANDRAIL_HTTP__HEAD_SECONDS": "2",
        "HANDRAIL_HTTP__BODY_SECONDS": "2",
        "HANDRAIL_HTTP__CONNECTIONS_PER_ADDRESS": str(PER_ADDRESS),
        "HANDRAIL_ADMISSION__CONNECTIONS": "600",
    }
    with serving("serve", "--project", str(project), home=tmp_path / "home", **limits) as process:
        yield process
    provider.close()


async def keep_silent(streams: Streams, host: bytes) -> None:
    """Connect, and nothing else."""
    await streams[0].read()


async def drip(streams: Streams, host: bytes) -> None:
    """A head that comes letter by letter and has no end."""
    streams[1].write(b"GET /healthz HTTP/1.1\r\nhost: " + host + b"\r\nx: ")
    while not streams[0].at_eof():
        streams[1].write(b"a")
        await streams[1].drain()
        await asyncio.sleep(0.2)


async def drip_body(streams: Streams, host: bytes) -> None:
    """A body that is promised and does not come."""
    streams[1].write(POST % host + b"content-length: 1000000\r\n\r\n{")
    await streams[0].read()


async def overload_head(streams: Streams, host: bytes) -> None:
    """Headers without end, as fast as they are taken."""
    streams[1].write(b"GET /healthz HTTP/1.1\r\n")
    while not streams[0].at_eof():
        streams[1].write(b"x: " + b"a" * 8000 + b"\r\n")
        await streams[1].drain()
        await asyncio.sleep(0)


async def ask_and_not_read(streams: Streams, host: bytes) -> None:
    """Requests in a row whose answers nobody takes."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(5):
            for _ in range(200):
                streams[1].write(b"GET /openapi.json HTTP/1.1\r\nhost: " + host + b"\r\n\r\n")
                await streams[1].drain()
            await asyncio.sleep(5)


async def build_deep(streams: Streams, host: bytes) -> None:
    """Bodies that are all brackets."""
    body = b"[" * 900_000
    streams[1].write(POST % host + b"content-length: %d\r\n\r\n" % len(body) + body)
    await streams[1].drain()
    await streams[0].read()


WAYS: list[Callable[[Streams, bytes], Awaitable[None]]] = [
    keep_silent, drip, drip_body, overload_head, ask_and_not_read, build_deep,
]  # fmt: skip


async def attack(number: int, host: str, port: int, ended: Counter[str]) -> None:
    way = WAYS[number % len(WAYS)]
    try:
        streams = await asyncio.open_connection(host, port, limit=4096, local_addr=(SOURCES[number % 6], 0))
    except OSError:
        ended["not connected"] += 1
        return
    try:
        async with asyncio.timeout(30):
            await way(streams, f"{host}:{port}".encode())
        ended[way.__name__] += 1
    except (OSError, asyncio.IncompleteReadError):
        ended[f"{way.__name__} cut off"] += 1
    except TimeoutError:
        ended["still connected"] += 1
    finally:
        streams[1].transport.abort()


async def besieged(server: Process) -> tuple[list[str], Counter[str], int]:
    """What becomes of turns while a thousand attack, of those, and the most memory that was seen."""
    base, ended, peak = urlsplit(server.address), Counter[str](), 0
    attackers = [
        asyncio.create_task(attack(number, base.hostname or "", base.port or 0, ended)) for number in range(CLIENTS)
    ]
    statuses: list[str] = []
    for _ in range(TURNS):
        conversation = await asyncio.to_thread(server.open)
        turn = await asyncio.to_thread(server.say, conversation, "hello")
        statuses.append(turn["status"])
        peak = max(peak, resident_bytes(server.pid))
        await asyncio.sleep(0.2)
    await asyncio.gather(*attackers)
    return statuses, ended, max(peak, resident_bytes(server.pid))


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads the memory of a process from /proc")
def test_others_are_answered_and_the_memory_is_bounded(server: Process):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        server.say(server.open(), "hello")
        before = resident_bytes(server.pid)
        statuses, ended, most = asyncio.run(besieged(server))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    print(f"{CLIENTS} hostile clients: {dict(ended)}; {(most - before) / 1e6:.0f} MB more than before")
    assert statuses == ["completed"] * TURNS
    assert sum(ended.values()) == CLIENTS
    assert ended["still connected"] == 0
    assert most - before < MOST_GROWTH_BYTES
    assert server.client.get("/readyz").json()["status"] == "ready"
