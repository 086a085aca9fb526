"""A process that lost its turn changes nothing more, whichever of its writes it was about to make.

The writes are found, not listed: a turn is stopped before its first commit, then before its second, and so on; each
time somebody else takes it over, the process goes on, and every row of the database must stay as it was.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import select

from handrail.core.clock import FrozenClock
from handrail.db import Database, Prepared, metadata
from handrail.flows.leases import renew
from handrail.serving.models import Reply, calls
from tests.flows.desk import Desk
from tests.flows.world import PROJECT, World, closed, until, world_over

RULES = """
permissions: {close_account: {roles: [operator]}}
approvals:
- {name: mails, tools: [send_mail], expires_after: 20h}
"""
GUARDED = PROJECT | {"policies.yaml": RULES}
_EVERYTHING = [Prepared(select(table)) for table in metadata.sorted_tables]


def lost(**_: Any) -> None:
    raise ConnectionResetError


async def hangs(**_: Any) -> None:
    await asyncio.sleep(30)


async def cancelled(world: World, turn_id: str) -> None:
    await until(lambda: bool(world.model.requests) or turn_id not in world.services.running)
    if turn_id in world.services.running:
        world.services.running[turn_id].cancel()


async def drained(world: World, turn_id: str) -> None:
    world.services.draining = True
    await cancelled(world, turn_id)


SLOW = Reply(text="word after word", piece=1, gap_seconds=5)
OUT_OF_TIME = "an end out of time"
STORIES: dict[str, tuple[str, list[Any], dict[str, Any], Callable[[World, str], Awaitable[None]] | None]] = {
    "an answer": ("hello", ["Hello."], {}, None),
    "a read and a write": (
        "do it", [calls(("get_stock", {"item": "a"}), ("refund", {"order": "A1"}), text="I look."), "Done."], {}, None,
    ),
    "a read alone": ("do it", [calls(("get_stock", {"item": "a"})), "There are some."], {}, None),
    "a refused write": ("do it", [calls(("close_account", {})), "I may not."], {}, None),
    "an unknown write": ("do it", [calls(("refund", {"order": "A1"})), "Who knows."], {"refund": lost}, None),
    "an approval": ("do it", [calls(("get_stock", {"item": "a"}), ("send_mail", {"text": "a"}))], {}, None),
    "a failure": ("hello", [RuntimeError("broken")], {}, None),
    "a flow": ("where is A1001", [], {"get_order": lambda order: {"status": "sent"}}, None),
    "a tool": ("when are you open", [], {"opening_hours": lambda: {"monday": "9 to 5"}}, None),
    OUT_OF_TIME: ("do it", [calls(("refund", {"order": "A1"}))], {"refund": hangs}, None),
    "a cancellation": ("hello", [SLOW], {}, cancelled),
    "a shutdown": ("hello", [SLOW], {}, drained),
}  # fmt: skip


class Thief:
    """Stands in front of commit number `at` of a turn and gives the turn to somebody else."""

    def __init__(self, world: World, db: Database, at: int) -> None:
        self.stolen = asyncio.Event()
        self.rows: list[Any] = []
        self.commits = 0
        self._world, self._db, self._at = world, db, at

    async def __call__(self, writes: list[str]) -> None:
        if "insert turn" in writes:
            return
        self.commits += 1
        if self.commits == self._at:
            await self.steal()

    async def steal(self) -> None:
        services = self._world.services
        (turn_id,) = services.running
        turn = await self._world.stored(turn_id)
        async with self._db.batch() as batch:
            services.leases.take_over(batch, turn, owner="thief", lease_micros=10**9, sole_owner=True)
        self.rows = await everything(self._db)
        self.stolen.set()


async def everything(db: Database) -> list[Any]:
    return [sorted(repr(dict(row)) for row in await db.fetch_all(each, {})) for each in _EVERYTHING]


@pytest.fixture
async def stage(db: Database, clock: FrozenClock):
    worlds: list[World] = []

    async def make(seconds: float) -> World:
        world = await world_over(db, clock, project=GUARDED, deadline_seconds=seconds)
        world.head.knows("where is A1001", "order_status")
        world.head.knows("when are you open", "hours")
        worlds.append(world)
        return world

    yield make
    for world in worlds:
        await closed(world)


@pytest.mark.parametrize("story", STORIES)
async def test_a_turn_that_was_taken_over_is_written_by_its_new_owner_alone(
    stage: Callable[[float], Awaitable[World]], db: Database, desk: Desk, story: str
):
    message, script, acts, then = STORIES[story]
    at, thief = 0, None
    while thief is None or thief.stolen.is_set():
        at += 1
        world = await stage(0.3 if story == OUT_OF_TIME else 10)
        desk.clear()
        desk.acts.update(acts)
        world.script(*script) if script else None
        thief = Thief(world, db, at)
        conversation = await world.open()
        world.db.before_commit = thief
        stream = await world.send(conversation, message)
        if then is not None:
            await then(world, stream.turn_id)
        await world.settle(stream.turn_id)
        if thief.stolen.is_set():
            world.services.running[stream.turn_id] = asyncio.current_task()  # pyright: ignore[reportArgumentType]
            await renew(world.services)
            del world.services.running[stream.turn_id]
            assert await everything(db) == thief.rows, f"commit {at} of {story!r} was not fenced"
            assert stream.is_over, "its client is left waiting"
            assert (await world.stored(stream.turn_id)).epoch == 2
    assert at > 1, "the story writes nothing"
