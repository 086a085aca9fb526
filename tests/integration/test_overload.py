"""Many more clients than places: everybody gets an answer, a 429 or a 503 in time, and the memory stays what it was."""

import asyncio
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from tests.integration.processes import Process, Provider, agent_project, serving

# A long run sets 1000 or more.
CLIENTS = int(os.environ.get("HANDRAIL_SOAK_CLIENTS", "250"))
ROUNDS = 3
PLACES = 20


@pytest.fixture
def provider() -> Iterator[Provider]:
    made = Provider()
    yield made
    made.close()


def resident_bytes(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


async def one(session: aiohttp.ClientSession, conversation: str) -> tuple[int, str]:
    path = f"/v1/conversations/{conversation}/turns"
    async with session.post(path, json={"message": "hello"}) as answer:
        body = await answer.json()
        if answer.status == 200:
            assert body["status"] == "completed", body
        else:
            assert int(answer.headers["retry-after"]) >= 1
        return answer.status, body.get("error", {}).get("code", "")


async def flood(address: str, conversations: list[str]) -> Counter[tuple[int, str]]:
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(address, connector=connector, timeout=timeout) as session:
        return Counter(await asyncio.gather(*(one(session, each) for each in conversations)))


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads the memory of a process from /proc")
def test_a_server_with_few_places_answers_or_refuses_everybody_and_does_not_grow(tmp_path: Path, provider: Provider):
    provider.says, provider.gap = "one two three", 0.1
    project = agent_project(tmp_path / "talker", provider)
    limits = {
        "HANDRAIL_ADMISSION__RUNNING": str(PLACES),
        "HANDRAIL_ADMISSION__RUNNING_PER_TENANT": str(PLACES),
        "HANDRAIL_ADMISSION__WAITING": "60",
        "HANDRAIL_ADMISSION__WAITING_PER_TENANT": "60",
        "HANDRAIL_ADMISSION__WAIT_SECONDS": "1",
        "HANDRAIL_RATE_LIMIT__BURST": "1000000",
    }
    with serving("serve", "--project", str(project), home=tmp_path / "home", **limits) as server:
        conversations = [server.open() for _ in range(CLIENTS)]
        seen: Counter[tuple[int, str]] = Counter()
        sizes: list[int] = []
        for _ in range(ROUNDS):
            seen += asyncio.run(flood(server.address, conversations))
            sizes.append(resident_bytes(server.pid))
        assert seen.total() == ROUNDS * CLIENTS
        assert {status for status, _ in seen} <= {200, 429, 503}, seen
        assert {code for status, code in seen if status != 200} <= {"tenant_overloaded", "overloaded"}
        assert seen[200, ""] >= PLACES, "who has a place is answered"
        assert seen[200, ""] < seen.total(), "there were more clients than places"
        assert sizes[-1] - sizes[0] < 24 * 1024 * 1024, sizes
        metrics = server.client.get("/metrics").text
        assert "handrail_admission_running 0.0" in metrics
        assert "handrail_admission_waiting 0.0" in metrics
        _then_it_is_as_before(server, conversations[0])


def _then_it_is_as_before(server: Process, conversation: str) -> None:
    assert server.say(conversation, "are you well?")["status"] == "completed"
