"""Processes that run jobs are killed, stopped and cut off: what was asked for happens, and a page at most once more."""

import asyncio
import contextlib
import json
import os
import signal
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from handrail.db.migrate import migrate
from tests.children import nursery
from tests.servers import PostgresServer

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parent.parent.parent
WITHIN = 40.0


class Replica:
    """One process of the deployment."""

    def __init__(self, home: Path, url: str | None, **given: Any) -> None:
        self.effects = home / "effects"
        self._stdout = home / f"stdout-{uuid.uuid4().hex}"
        self._process = nursery().start(
            str(home / "data"), url or "", str(self.effects), json.dumps(given),
            program="tests.jobs.replica", home=ROOT, env=os.environ, stdout=self._stdout, stderr=home / "log",
        )  # fmt: skip

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, what: signal.Signals) -> None:
        self._process.send_signal(what)

    def running(self) -> "Replica":
        until = time.monotonic() + WITHIN
        while self._stdout.read_text() != "running\n":
            assert self._process.poll() is None, "it has ended"
            assert time.monotonic() < until, "it does not run"
            time.sleep(0.01)
        return self

    def ended(self) -> None:
        self._process.wait(WITHIN)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(WITHIN)


@pytest.fixture
def replica(tmp_path: Path, engine_url: str | None) -> Iterator[Callable[..., Replica]]:
    made: list[Replica] = []

    def start(url: str | None = engine_url, **given: Any) -> Replica:
        made.append(Replica(tmp_path, url, **given))
        return made[-1]

    yield start
    for each in made:
        with contextlib.suppress(ProcessLookupError):
            each.send(signal.SIGCONT)
        each.kill()


@pytest.fixture
def effects(tmp_path: Path) -> Callable[[], list[tuple[str, int, int]]]:
    """(run, page, process) of every page that began, in order."""

    def read() -> list[tuple[str, int, int]]:
        path = tmp_path / "effects"
        lines = path.read_text().splitlines() if path.exists() else []
        return [(run, int(page), int(pid)) for run, page, pid in (line.split() for line in lines)]

    return read


Effects = Callable[[], list[tuple[str, int, int]]]


def until(holds: Callable[[], bool], what: str) -> None:
    ends = time.monotonic() + WITHIN
    while not holds():
        assert time.monotonic() < ends, what
        time.sleep(0.05)


def pages(effects: Effects) -> list[int]:
    return [page for _, page, _ in effects()]


@pytest.mark.parametrize("engine_url", ["sqlite"], indirect=True)
class TestKilled:
    def test_in_a_page_the_run_goes_on_with_that_page(self, replica: Callable[..., Replica], effects: Effects) -> None:
        first = replica(ask="run-1", slow_page=3)
        until(lambda: len(effects()) == 3, "three pages begin")
        first.kill()
        replica()
        until(lambda: pages(effects)[-1:] == [5], "the last page is reached")
        assert pages(effects) == [1, 2, 3, 3, 4, 5]

    def test_between_the_commit_and_the_hand_over_the_run_is_not_lost(
        self, replica: Callable[..., Replica], effects: Effects
    ) -> None:
        replica(ask="run-1", die_after_asking=True).ended()
        assert effects() == []
        replica()
        until(lambda: pages(effects)[-1:] == [5], "the run that was asked for")
        assert pages(effects) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("engine_url", ["sqlite"], indirect=True)
class TestAnotherVersion:
    def test_leaves_runs_of_this_one_alone_and_this_one_ends_them(
        self, replica: Callable[..., Replica], effects: Effects
    ) -> None:
        first = replica(ask="run-1", slow_page=2, protocol="p0")
        until(lambda: len(effects()) == 2, "two pages begin")
        first.kill()
        other = replica(protocol="p9").running()
        time.sleep(3.5)
        assert pages(effects) == [1, 2]
        other.kill()
        replica(protocol="p0")
        until(lambda: pages(effects)[-1:] == [5], "the last page")
        assert pages(effects) == [1, 2, 2, 3, 4, 5]


@pytest.mark.postgres
@pytest.mark.parametrize("engine_url", ["postgresql"], indirect=True)
class TestSeveralProcesses:
    def test_take_up_what_a_killed_one_had_begun(self, replica: Callable[..., Replica], effects: Effects) -> None:
        first = replica(ask="run-1", slow_page=2)
        until(lambda: len(effects()) == 2, "two pages begin")
        second = replica().running()
        first.kill()
        until(lambda: pages(effects)[-1:] == [5], "the other one takes it up")
        assert pages(effects) == [1, 2, 2, 3, 4, 5]
        assert {pid for _, page, pid in effects() if page > 2} == {second.pid}

    def test_that_sweep_at_once_start_it_once(self, replica: Callable[..., Replica], effects: Effects) -> None:
        """Without the lock that lets only one do it: the update itself is conditional."""
        first = replica(ask="run-1", slow_page=2)
        until(lambda: len(effects()) == 2, "two pages begin")
        others = [replica(locked=False, page_seconds=0.3) for _ in range(2)]
        for other in others:
            other.running()
        first.kill()
        until(lambda: pages(effects)[-1:] == [5], "one of them takes it up")
        time.sleep(2)
        assert pages(effects) == [1, 2, 2, 3, 4, 5]

    def test_fence_one_that_slept_through_its_death(self, replica: Callable[..., Replica], effects: Effects) -> None:
        first = replica(ask="run-1", slow_page=2)
        until(lambda: len(effects()) == 2, "two pages begin")
        first.send(signal.SIGSTOP)
        second = replica().running()
        until(lambda: pages(effects)[-1:] == [5], "the other one takes it up")
        first.send(signal.SIGCONT)
        time.sleep(3)
        assert pages(effects) == [1, 2, 2, 3, 4, 5]
        assert {pid for _, page, pid in effects() if page > 2} == {second.pid}

    def test_let_a_schedule_fire_once(self, replica: Callable[..., Replica], effects: Effects) -> None:
        for _ in range(2):
            replica(every_second=True, pages=1)
        until(lambda: len(effects()) >= 5, "five times have come")
        fired = Counter(run for run, _, _ in effects())
        assert set(fired.values()) == {1}


@pytest.mark.postgres
@pytest.mark.parametrize("engine_url", [None])
def test_a_run_outlasts_a_restart_of_its_database(replica: Callable[..., Replica], effects: Effects) -> None:
    server = PostgresServer(durable=True).start()
    try:
        asyncio.run(_create(server.url()))
        url = server.url("handrail")
        asyncio.run(migrate(url))
        replica(url, ask="run-1", page_seconds=0.4, pages=8)
        until(lambda: len(effects()) == 2, "two pages begin")
        server.stop(signal.SIGQUIT)
        time.sleep(1)
        server.start()
        until(lambda: pages(effects)[-1:] == [8], "the last page")
    finally:
        server.remove()
    reached = pages(effects)
    assert sorted(set(reached)) == list(range(1, 9))
    assert reached == sorted(reached)
    assert len(reached) <= 10


async def _create(url: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute("CREATE DATABASE handrail")
    await connection.close()
