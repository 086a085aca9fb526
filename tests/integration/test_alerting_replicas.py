"""Real processes over one PostgreSQL and a real webhook: one message, also when the one that looks is killed."""

import asyncio
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.postgres]

RULES = "rules: {job_failed: {clears_after: 1s}, audit_lag: {enabled: false}}\nrepeat_after: 1d\n"


class Webhook:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.got: list[str] = []
        self.news = asyncio.Event()
        self.port = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        lines = (line.partition(":") for line in head.splitlines())
        length = next(int(value) for name, _, value in lines if name.lower() == "content-length")
        told = json.loads(await reader.readexactly(length))
        self.got.append(f"{told['title']} {told['message'].rpartition('notice: ')[2]}")
        self.news.set()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        writer.close()

    async def hears(self, title: str) -> None:
        async with asyncio.timeout(60):
            while not self.told(title):
                self.news.clear()
                await self.news.wait()

    def told(self, title: str) -> Counter[str]:
        """How often each notice with this title came."""
        return Counter(each for each in self.got if each.startswith(title))


@pytest.fixture
async def webhook() -> AsyncIterator[Webhook]:
    made = Webhook()
    server = await asyncio.start_server(made.answer, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    yield made
    server.close()
    await asyncio.sleep(0.05)


class Replica:
    """One process."""

    def __init__(self, process: asyncio.subprocess.Process, owner: str) -> None:
        self.process, self.owner = process, owner

    @classmethod
    async def start(cls, folder: Path, url: str, webhook: Webhook) -> "Replica":
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HANDRAIL_")}
        settings = {
            "HANDRAIL_ALERTS__CHANNELS__OPS": f"json://127.0.0.1:{webhook.port}/",
            "HANDRAIL_ALERTS__EVERY_SECONDS": "1",
            "HANDRAIL_EGRESS__ALLOW": "127.0.0.1",
        }
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.flows.alerting_replica", str(folder), url),
            env=kept | settings,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        assert process.stdout is not None
        async for line in process.stdout:
            if line.startswith(b"ready "):
                return cls(process, line.decode().split()[1])
        raise AssertionError(f"it ended with {await process.wait()}")

    async def kill(self) -> None:
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGKILL)
        await self.process.wait()


def prepare(folder: Path) -> None:
    folder.mkdir()
    (folder / "alerts.yaml").write_text(RULES)


async def end_a_job(url: str, run_id: str, status: str) -> None:
    connection = await asyncpg.connect(url.replace("postgresql+asyncpg://", "postgresql://"))
    try:
        await connection.execute(
            "INSERT INTO job_run (id, tenant_id, job, status, attempts, report, error_code, created_at, started_at, "
            "ended_at) VALUES ($1, '*', 'retention', $2, 1, '{}', $3, $4, $4, $4)",
            *(run_id, status, "disk_error" if status == "failed" else None),
            await connection.fetchval("SELECT (extract(epoch FROM now()) * 1000000)::bigint"),
        )
    finally:
        await connection.close()


async def holder(url: str) -> str:
    connection = await asyncpg.connect(url.replace("postgresql+asyncpg://", "postgresql://"))
    try:
        return str(await connection.fetchval("SELECT owner FROM alert_lease"))
    finally:
        await connection.close()


async def test_of_two_processes_one_tells_and_after_a_kill_the_other_goes_on(
    tmp_path: Path, postgres_url: str, webhook: Webhook
) -> None:
    for name in ("one", "two"):
        prepare(tmp_path / name)
    replicas = await asyncio.gather(*(Replica.start(tmp_path / name, postgres_url, webhook) for name in ("one", "two")))
    try:
        await end_a_job(postgres_url, "run_1", "failed")
        await webhook.hears("[warning] job failed")
        owner = await holder(postgres_url)
        await next(each for each in replicas if each.owner == owner).kill()
        await end_a_job(postgres_url, "run_2", "completed")
        await webhook.hears("Resolved: job failed")
        assert await holder(postgres_url) != owner
        await asyncio.sleep(3)
    finally:
        await asyncio.gather(*(each.kill() for each in replicas))
    assert list(webhook.told("[warning] job failed").values()) == [1]
    assert list(webhook.told("Resolved: job failed").values()) == [1]
