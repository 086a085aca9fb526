"""`kill -9` at any point, a few hundred times: nothing is lost, nothing is done twice, nobody waits for ever.

`HANDRAIL_KILLS` says how often each store's servers are killed (`make soak` kills them 10,000 times in all).
"""

import asyncio
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import pytest

from handrail.protection.auth import operator_token
from tests.integration.crash.clients import PATIENCE, Crowd, plan
from tests.integration.crash.fleet import Server
from tests.integration.crash.planner import Planner
from tests.integration.crash.sums import miscounted
from tests.integration.crash.verdict import Verdict, effects_in, judge, rows_of

KILLS = int(os.environ.get("HANDRAIL_KILLS", "100"))
SEED = int(os.environ.get("HANDRAIL_SEED", "0")) or int(time.time())
TALKERS = 28
LEAST_IN_FLIGHT = 20
PEACE_SECONDS = 3.0
SHORT_LEASE = {
    "HANDRAIL_TURN__LEASE_SECONDS": "1",
    "HANDRAIL_TURN__SWEEP_SECONDS": "0.2",
    # Here it is the test that kills, again and again, and not the turn.
    "HANDRAIL_TURN__MOST_OWNERS": "1000",
}
MANY_TURNS = {"HANDRAIL_RATE_LIMIT__TURNS_PER_MINUTE": "1000000", "HANDRAIL_RATE_LIMIT__BURST": "1000000"}
pytestmark = pytest.mark.slow


@dataclass
class Scene:
    """Servers, the clients that talk to them, and the outside world where effects happen.

    `struck` has, for every kill or stop, how many conversations had a turn in flight at that moment.
    """

    servers: Sequence[Server]
    crowd: Crowd
    url: str
    folder: Path
    effects: Path
    rng: random.Random
    struck: list[int] = field(default_factory=list[int])

    async def settled(self, conversations: Sequence[str]) -> Verdict:
        """Every conversation takes one more message; then what is stored is held against what happened."""
        for heard in await asyncio.gather(*(self.crowd.turn(each, plan(self.rng)) for each in conversations)):
            assert heard.ended == "turn.completed", f"the last turn of {heard.conversation} ended as {heard.ended}"
        for server in self.servers:
            if server.address:
                await server.send(signal.SIGTERM)
        verdict = judge(await rows_of(self.url), effects_in(self.effects), self.crowd.heard)
        verdict.broken += await miscounted(self.folder, self.url)
        return verdict

    async def strike(self, number: signal.Signals) -> Server:
        """Hit one server at a moment that nobody can foresee, while enough turns are in flight."""
        await asyncio.sleep(self.rng.uniform(0.0, 0.8))
        if self.crowd.longest_wait > PATIENCE / 3:
            # Where the machine is slow, kills come faster than the longest step of a turn takes: let that one be taken.
            await asyncio.sleep(PEACE_SECONDS)
        while self.crowd.in_flight < LEAST_IN_FLIGHT:  # noqa: ASYNC110 - a count, and not one event
            await asyncio.sleep(self.rng.uniform(0.01, 0.1))
        self.struck.append(self.crowd.in_flight)
        server = self.rng.choice(self.servers)
        await server.send(number)
        return server


@asynccontextmanager
async def scene(tmp_path: Path, url: str, names: Sequence[str], settings: dict[str, str]) -> AsyncIterator[Scene]:
    effects = tmp_path / "effects"
    effects.mkdir()
    planner, rng = Planner(), random.Random(SEED)
    await planner.start()
    given = settings | MANY_TURNS | {"CRASH_EFFECTS": str(effects), "CRASH_MODEL_URL": planner.url}
    arguments = ("--database-url", url) if url.startswith("postgresql") else ()
    servers = [Server(name, tmp_path, given, *arguments) for name in names]
    token = operator_token(tmp_path / "data")
    crowd = Crowd(lambda: [each.address for each in servers if each.address], lambda: token, rng)
    try:
        for server in servers:
            await server.start()
        yield Scene(servers, crowd, url, tmp_path / "data", effects, rng)
    finally:
        await crowd.close()
        for server in servers:
            await server.end()
        await planner.stop()


async def kill_often(scene: Scene, kills: int) -> Verdict:
    """Kill a server at random moments and start it again, under clients that go on all the time."""
    async with asyncio.TaskGroup() as group:
        talks = [group.create_task(scene.crowd.talk()) for _ in range(TALKERS)]
        began = time.monotonic()
        for number in range(1, kills + 1):
            server = await scene.strike(signal.SIGKILL)
            await server.start()
            if number % 100 == 0 or number == kills:
                _say(f"{number} kills in {time.monotonic() - began:.0f} s, {len(scene.crowd.heard)} turns")
        scene.crowd.stopping = True
    return await scene.settled([each.result() for each in talks])


async def stop_often(scene: Scene, stops: int) -> Verdict:
    """Stop a server for longer than its lease, so that it wakes as one who does not know what has happened."""
    async with asyncio.TaskGroup() as group:
        talks = [group.create_task(scene.crowd.talk()) for _ in range(TALKERS)]
        for _ in range(stops):
            server = await scene.strike(signal.SIGSTOP)
            await asyncio.sleep(scene.rng.uniform(1.5, 2.5))
            await server.send(signal.SIGCONT)
        scene.crowd.stopping = True
    return await scene.settled([each.result() for each in talks])


def report(store: str, scene: Scene, verdict: Verdict, how: str = "kills") -> None:
    """What was seen, and by the rule of three how often it may still happen."""
    each, kills, least = verdict, len(scene.struck), min(scene.struck)
    _say(
        f"{store}, seed {SEED}: {kills} {how} with {least} to {max(scene.struck)} turns in flight "
        f"(median {median(scene.struck):.0f}), {each.turns} turns ({each.taken_over} taken over), "
        f"{each.resumed_streams} streams resumed, {each.effects} effects, {each.unknown} unknown and given to people, "
        f"{each.late} effects of sleepers after that; ends {dict(each.ends)}; {len(each.broken)} promises broken; "
        f"0 of {kills} {how} means less than {3 / kills:.2%} with 95 % confidence"
    )
    assert least >= LEAST_IN_FLIGHT
    assert not verdict.broken, f"seed {SEED}, {len(verdict.broken)} broken: " + "\n".join(verdict.broken[:20])


def _say(line: str) -> None:
    print(line, flush=True)


async def test_a_server_on_sqlite_that_is_killed_again_and_again_loses_nothing(tmp_path: Path):
    url = f"sqlite:///{tmp_path / 'data' / 'handrail.db'}"
    async with scene(tmp_path, url, ["one"], SHORT_LEASE) as stage:
        report("SQLite", stage, await kill_often(stage, KILLS))


@pytest.mark.postgres
async def test_replicas_on_postgres_take_over_what_a_killed_one_leaves(tmp_path: Path, blank_postgres_url: str):
    async with scene(tmp_path, blank_postgres_url, ["one", "two"], SHORT_LEASE) as stage:
        report("PostgreSQL, two replicas", stage, await kill_often(stage, KILLS))


@pytest.mark.postgres
async def test_a_replica_that_was_stopped_and_wakes_up_changes_nothing_more(tmp_path: Path, blank_postgres_url: str):
    stops = max(KILLS // 10, 3)
    async with scene(tmp_path, blank_postgres_url, ["one", "two"], SHORT_LEASE) as stage:
        report("PostgreSQL, two replicas", stage, await stop_often(stage, stops), "stops")
