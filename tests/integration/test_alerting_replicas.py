"""Real processes and a real webhook: one message, also when the one that looks is killed."""

import asyncio
import json
import os
import random
import signal
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tests.children import Child, nursery

pytestmark = pytest.mark.slow
ROUNDS = 4
COUNTS = "SELECT (SELECT count(*) FROM alert), (SELECT count(*) FROM alert_notice WHERE status = 'waiting')"

RULES = "rules: {job_failed: {clears_after: 1s}, audit_lag: {enabled: false}}\nrepeat_after: 1d\ngroup_for: 0s\n"


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

    def keys(self) -> Counter[str]:
        """How often each notice came, by its key."""
        return Counter(each.rpartition(" ")[2] for each in self.got)


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
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.flows.alerting_replica", str(folder), url),
            env=cls.environment(webhook),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        assert process.stdout is not None
        async for line in process.stdout:
            if line.startswith(b"ready "):
                return cls(process, line.decode().split()[1])
        raise AssertionError(f"it ended with {await process.wait()}")

    @staticmethod
    def environment(webhook: Webhook) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HANDRAIL_")}
        settings = {
            "HANDRAIL_ALERTS__CHANNELS__OPS": f"json://127.0.0.1:{webhook.port}/",
            "HANDRAIL_ALERTS__EVERY_SECONDS": "1",
            "HANDRAIL_EGRESS__ALLOW": "127.0.0.1",
        }
        return kept | settings

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


@pytest.mark.postgres
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


def rows(path: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as connection, connection:
        return connection.execute(sql).fetchall()


def fail_a_job(path: Path, run_id: str, job: str) -> None:
    at = int(time.time() * 1_000_000)
    rows(
        path,
        "INSERT INTO job_run "
        "(id, tenant_id, job, status, attempts, report, error_code, created_at, started_at, ended_at) "
        f"VALUES ('{run_id}', '*', '{job}', 'failed', 1, '{{}}', 'disk_error', {at}, {at}, {at})",
    )


async def started(folder: Path, path: Path, webhook: Webhook) -> Child:
    """One process over SQLite, forked, so that it is killed at other moments than while it is loaded."""
    settings = Replica.environment(webhook)
    out = folder.parent / "out"
    arguments = (str(folder), f"sqlite:///{path}")
    child = nursery().start(
        *arguments, home=folder, env=settings, stdout=out, stderr=out, program="tests.flows.alerting_replica"
    )
    async with asyncio.timeout(30):
        while out.read_bytes().count(b"ready ") == 0:
            assert child.poll() is None, out.read_text()
            await asyncio.sleep(0.02)
    out.unlink()
    return child


async def test_one_that_is_killed_at_any_moment_tells_each_alert_under_one_key(
    tmp_path: Path, sqlite_url: str, webhook: Webhook
) -> None:
    prepare(tmp_path / "one")
    path, rng = Path(sqlite_url.removeprefix("sqlite:///")), random.Random(5)
    child = await started(tmp_path / "one", path, webhook)
    try:
        for number in range(ROUNDS):
            fail_a_job(path, f"run_{number}", f"job{number}")
            await asyncio.sleep(rng.uniform(0.0, 2.0))
            child.kill()
            await asyncio.to_thread(child.wait, 20)
            child = await started(tmp_path / "one", path, webhook)
        async with asyncio.timeout(60):
            while rows(path, COUNTS) != [(ROUNDS, 0)]:
                # What was on its way at a kill is not sent again within a minute; here it is over.
                rows(path, "UPDATE alert_notice SET next_at = 0 WHERE status = 'waiting'")
                await asyncio.sleep(1)
    finally:
        child.kill()
        await asyncio.to_thread(child.wait, 20)
    firing = rows(path, "SELECT alert_ids FROM alert_notice WHERE kind = 'firing'")
    told = [each for (ids,) in firing for each in ids.split()]
    assert sorted(told) == sorted(each for (each,) in rows(path, "SELECT id FROM alert")), "each in one message"
    assert webhook.keys().keys() == {each for (each,) in rows(path, "SELECT id FROM alert_notice")}
    # What was on its way when the process was killed comes again, under the same key.
    assert max(webhook.keys().values()) <= ROUNDS
