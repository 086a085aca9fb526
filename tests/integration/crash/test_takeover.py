"""How long it takes at default timing, with servers that were started as users start them."""

import asyncio
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import asyncpg
import pytest

from tests.http.api import parsed, shown
from tests.integration.processes import Process, Provider, agent_project, serving

WITHIN_SECONDS = 20.0
TURNS = 5
pytestmark = pytest.mark.slow


@pytest.fixture
def provider() -> Iterator[Provider]:
    made = Provider()
    yield made
    made.close()


def left_behind(server: Process, provider: Provider) -> list[tuple[str, str]]:
    """Turns in the middle of their answer, as (id, last event) of clients that saw some of it."""
    provider.says, provider.gap = " ".join(["word"] * 300), 0.2
    left: list[tuple[str, str]] = []

    def one() -> None:
        path = f"/v1/conversations/{server.open()}/turns"
        headers = {"accept": "text/event-stream"}
        with server.client.stream("POST", path, json={"message": "talk"}, headers=headers) as response:
            for chunk in response.iter_text():
                for event in parsed(chunk):
                    if event.name == "message.delta":
                        left.append((response.headers["x-handrail-turn-id"], event.id))
                        return

    threads = [threading.Thread(target=one) for _ in range(TURNS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(left) == TURNS
    return left


def seconds_until(holds: Callable[[], bool], since: float) -> float:
    while not holds():
        assert time.monotonic() - since < 3 * WITHIN_SECONDS, "nobody took the turns over"
        time.sleep(0.1)
    return time.monotonic() - since


def answered(server: Process, left: list[tuple[str, str]]) -> None:
    """Every client that comes back with its last event gets the whole answer."""
    for turn_id, last in left:
        resumed = server.client.get(f"/v1/turns/{turn_id}/events", headers={"last-event-id": last}, timeout=60)
        seen = list(parsed(resumed.text))
        assert (seen[-1].name, shown(seen)) == ("turn.completed", "here I am")


@pytest.mark.postgres
def test_another_replica_takes_over_within_twenty_seconds(tmp_path: Path, provider: Provider, blank_postgres_url: str):
    project = agent_project(tmp_path / "talker", provider)
    arguments = ("serve", "--project", str(project), "--database-url", blank_postgres_url)

    async def taken() -> int:
        connection = await asyncpg.connect(blank_postgres_url)
        try:
            return await connection.fetchval("SELECT count(*) FROM turn WHERE epoch > 1")
        finally:
            await connection.close()

    with serving(*arguments, home=tmp_path / "a") as one, serving(*arguments, home=tmp_path / "b") as two:
        left = left_behind(one, provider)
        provider.says, provider.gap = "here I am", 0
        one.send(signal.SIGKILL)
        took = seconds_until(lambda: asyncio.run(taken()) == TURNS, time.monotonic())
        print(f"PostgreSQL, default timing: {TURNS} turns taken over {took:.1f} s after the kill", flush=True)
        assert took <= WITHIN_SECONDS
        answered(two, left)


def test_a_server_on_sqlite_goes_on_within_twenty_seconds_of_its_restart(tmp_path: Path, provider: Provider):
    project = agent_project(tmp_path / "talker", provider)

    def taken() -> int:
        with closing(sqlite3.connect(tmp_path / "data" / "handrail.db")) as connection:
            return connection.execute("SELECT count(*) FROM turn WHERE epoch > 1").fetchone()[0]

    with serving("serve", "--project", str(project), home=tmp_path) as server:
        left = left_behind(server, provider)
        server.send(signal.SIGKILL)
        server.ended()
    provider.says, provider.gap = "here I am", 0
    began = time.monotonic()
    with serving("serve", "--project", str(project), home=tmp_path) as server:
        took = seconds_until(lambda: taken() == TURNS, began)
        print(f"SQLite, default timing: {TURNS} turns taken over {took:.1f} s after the restart began", flush=True)
        assert took <= WITHIN_SECONDS
        answered(server, left)
