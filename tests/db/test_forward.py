"""A database that any earlier version wrote opens in this one, with all that is in it intact and working.

Revisions are found, not listed: a new one is tested from the day it is there.
"""

import asyncio
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import create_async_engine

from handrail.core import json
from handrail.core.clock import FrozenClock
from handrail.core.counts import counts_text
from handrail.core.principal import Principal, Role
from handrail.db import WrongDatabase
from handrail.db.migrate import migrate, migrations_folder, newest_revision
from handrail.db.open import open_database
from handrail.flows.approval import decide
from handrail.flows.leases import sweep
from handrail.serving.conversations import TurnStatus
from handrail.serving.models import Reply, calls
from tests.db.test_open import _differences as differences
from tests.flows.desk import Desk
from tests.flows.desk import desk as shared_desk
from tests.flows.world import PROJECT, World, closed, until, world_over

SCRIPTS = ScriptDirectory(str(migrations_folder()))
REVISIONS = sorted(each.revision for each in SCRIPTS.walk_revisions())
OLGA = Principal("default", "olga", frozenset({Role.APPROVER}))
GUARDED = {
    "agent.yaml": PROJECT["agent.yaml"],
    "instructions.md": PROJECT["instructions.md"],
    "tools.py": PROJECT["tools.py"],
    "policies.yaml": "approvals:\n- {name: mails, tools: [send_mail], expires_after: 20h}\n",
}
Rows = dict[str, list[dict[str, Any]]]
_ROLLED_UP = ("tenant_id", "grain", "starts_at", "agent", "release_id", "intent", "channel", "latency_class")


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def blank_url(request: pytest.FixtureRequest, tmp_path: Any) -> str:
    """A database without a schema, of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'old.db'}"
    return str(request.getfixturevalue("blank_postgres_url"))


@pytest.fixture
def desk() -> Any:
    shared_desk.clear()
    yield shared_desk
    shared_desk.clear()


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory, migrated_file: Path) -> Iterator[tuple[Rows, str]]:
    """What is there before: lived once, and written by every version."""

    def lost(order: str) -> None:
        raise ConnectionResetError

    path = tmp_path_factory.mktemp("lived") / "handrail.db"
    shutil.copyfile(migrated_file, path)
    shared_desk.clear()
    shared_desk.acts["refund"] = lost
    yield asyncio.run(lived_in(f"sqlite:///{path}", FrozenClock()))
    shared_desk.clear()


async def lived_in(url: str, clock: FrozenClock) -> tuple[Rows, str]:
    """What a server leaves that is killed in the middle of its work: turns in every status; and the text of a key."""
    database = await open_database(url, clock)
    world = await world_over(database, clock, project=GUARDED)
    services = world.services
    world.script("Hello.", Reply(error=RuntimeError("broken")), calls(("send_mail", {"text": "a"})))
    await world.say(await world.open(), "completed")
    await world.say(await world.open(), "failed")
    await world.say(await world.open(), "parked")
    world.script(calls(("refund", {"order": "A1"})), "I don't know.")
    await world.say(await world.open(), "escalated")
    world.script(Reply(text="never", delay_seconds=30), repeats=True)
    line = await world.open()
    await world.send(line, "running")
    await world.send(line, "queued")
    await until(lambda: bool(world.model.requests))
    key = await services.keys.create(
        tenant_id="default", subject="ana", role=Role.END_USER, at=clock.micros(), scopes=[]
    )
    rows = everything(url)
    services.draining = True
    await closed(world)
    await database.close()
    return rows, key.text


def everything(url: str) -> Rows:
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
        connection.row_factory = sqlite3.Row
        tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        names = [name for name in tables if name != "alembic_version" and not name.startswith("sqlite_")]
        return {name: [dict(row) for row in connection.execute(f"SELECT * FROM {name}")] for name in names}


class Store:
    """A database seen past the product: what columns it has, and its rows."""

    def __init__(self, url: str) -> None:
        self.url = url

    async def run(self, statement: str, values: Any = ()) -> list[Mapping[str, Any]]:
        if self.url.startswith("sqlite"):
            with closing(sqlite3.connect(self.url.removeprefix("sqlite:///"))) as connection:
                connection.row_factory = sqlite3.Row
                found = [dict(row) for row in connection.execute(statement, values)]
                connection.commit()
                return found
        numbered = statement
        for number in range(1, len(values) + 1):
            numbered = numbered.replace("?", f"${number}", 1)
        connection = await asyncpg.connect(self.url)
        try:
            # What refers to what is kept as it was, in whatever order it comes back.
            await connection.execute("SET session_replication_role = replica")
            return [dict(row) for row in await connection.fetch(numbered, *values)]
        finally:
            await connection.close()

    async def columns(self) -> dict[str, set[str]]:
        if self.url.startswith("sqlite"):
            tables = [row["name"] for row in await self.run("SELECT name FROM sqlite_master WHERE type = 'table'")]
            return {name: {row["name"] for row in await self.run(f"PRAGMA table_info({name})")} for name in tables}
        found: dict[str, set[str]] = {}
        for row in await self.run(
            "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public'"
        ):
            found.setdefault(row["table_name"], set()).add(row["column_name"])
        return found


async def written_by(store: Store, revision: str, rows: Rows) -> Rows:
    """The same content as a version at `revision` wrote it: without the tables and columns that came later."""
    await migrate(store.url, revision)
    columns = await store.columns()
    parked = {row["id"] for row in rows["turn"] if row["status"] == "requires_action"}
    if "approval" in columns:
        parked = set[str]()
    written: Rows = {}
    for table, lines in rows.items():
        for line in lines:
            if table in columns and not parked & {line.get("turn_id"), line["id"] if table == "turn" else None}:
                known = {name: _as_then(name, value) for name, value in line.items() if name in columns[table]}
                places = ", ".join("?" * len(known))
                await store.run(f"INSERT INTO {table} ({', '.join(known)}) VALUES ({places})", list(known.values()))
                written.setdefault(table, []).append(known)
    return written


def _as_then(name: str, value: Any) -> Any:
    if name == "parked" and value:
        return json.dumps({each: kept for each, kept in json.loads(value).items() if each != "epoch"})
    return value


async def unchanged(store: Store, written: Rows) -> None:
    """Every row is there with every value it had."""
    for table, lines in written.items():
        columns = ", ".join(lines[0])
        found = await store.run(f"SELECT {columns} FROM {table}")
        assert sorted(map(repr, map(dict, found))) == sorted(map(repr, lines)), table


async def works(world: World, clock: FrozenClock, written: Rows, desk: Desk) -> None:
    """Dead turns are taken over, the line moves, the parked approval can be decided, everybody can go on."""
    services = world.services
    world.script("Here I am.", repeats=True)
    desk.clear()
    clock.advance(100)
    await sweep(services)
    unfinished = [row["id"] for row in written["turn"] if row["status"] in ("running", "queued")]
    for turn_id in unfinished:
        await until(lambda turn_id=turn_id: services.streams.find(turn_id) is not None)
        await world.settle(turn_id)
        assert (await world.stored(turn_id)).status is TurnStatus.COMPLETED
    for asked in await services.approvals.list_pending("default"):
        await decide(services, OLGA, asked.id, "approve", fingerprint=asked.fingerprint)
        await world.settle(asked.call.turn_id)
        assert (await world.stored(asked.call.turn_id)).status is TurnStatus.COMPLETED
    assert desk.names() == ["send_mail"] * ("approval" in written)
    for row in written["conversation"]:
        conversation = await services.conversations.find("default", row["id"])
        assert (await world.say(conversation, "and now?"))["status"] == "completed"


@pytest.mark.parametrize("revision", REVISIONS)
async def test_what_an_earlier_version_wrote_is_intact_and_goes_on(
    life: tuple[Rows, str], blank_url: str, clock: FrozenClock, desk: Desk, revision: str
):
    rows, key = life
    assert {row["status"] for row in rows["turn"]} == {"completed", "failed", "requires_action", "running", "queued"}
    assert len(rows["escalation"]) == len(rows["approval"]) == 1
    store = Store(blank_url)
    written = await written_by(store, revision, rows)
    database = await open_database(blank_url, clock)
    await unchanged(store, written)
    world = await world_over(database, clock, project=GUARDED)
    await works(world, clock, written, desk)
    assert (await world.services.authenticator.authenticate(f"Bearer {key}", loopback=False)).subject == "ana"
    await closed(world)
    await database.close()


async def test_the_rows_of_a_histogram_become_one_text_of_the_sums_they_belong_to(blank_url: str) -> None:
    await migrate(blank_url, "0026")
    store = Store(blank_url)
    key = ("default", "day", 0, "shop", "rel_1", "refund", "api")
    for latency_class in ("simple", "complex"):
        columns = (await store.columns())["turn_rollup"] - set(_ROLLED_UP)
        names, values = [*_ROLLED_UP, *columns], [*key, latency_class, *(1 for _ in columns)]
        await store.run(f"INSERT INTO turn_rollup ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})", values)
    for latency_class, bucket, turns in (("simple", 10, 3), ("simple", 2, 1), ("simple", 4, 0), ("other", 1, 1)):
        names = (*_ROLLED_UP, "bucket", "turns")
        await store.run(
            f"INSERT INTO latency_rollup ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})",
            [*key, latency_class, bucket, turns],
        )
    await migrate(blank_url)
    rows = await store.run("SELECT latency_class, latencies FROM turn_rollup ORDER BY 1")
    assert [(row["latency_class"], row["latencies"]) for row in rows] == [
        ("complex", "{}"), ("simple", counts_text({2: 1, 10: 3}))
    ]  # fmt: skip


async def test_calls_are_summed_by_model_from_the_ledger_where_their_conversation_is_gone(blank_url: str) -> None:
    await migrate(blank_url, "0031")
    store, at = Store(blank_url), 26 * 3600 * 1_000_000 + 5

    async def has(table: str, **known: Any) -> None:
        places = ", ".join("?" * len(known))
        await store.run(f"INSERT INTO {table} ({', '.join(known)}) VALUES ({places})", list(known.values()))

    own = {"tenant_id": "default", "agent": "shop", "release_id": "rel_1"}
    times = {"created_at": at, "updated_at": at}
    columns = (await store.columns())["conversation_fact"]
    texts = {"channel": "api", "intent": "chat", "variant": "", "contribution": "{}", "updated_at": at}
    empty = ("subject", "closes_at", "said_resolved", "escalation_reason", "csat", "nps", "latency_micros")
    for key in ("here", "gone", "outlived"):
        if key != "gone":
            await has("conversation", id=key, subject="ana", channel="api", turn_count=1, failures=0, **own, **times)
        told = {"conversation_id": key, "started_at": at, "last_at": at, **own, **texts}
        numbers = dict.fromkeys(columns - {*told, *empty, "unsupported_turns"}, 1)
        await has("conversation_fact", **told, **numbers)
    for key in ("here", "gone"):
        for number, (cost, tokens, ended) in enumerate(
            ((70, 10, "stop"), (None, 20, "stop"), (None, None, "error"), (None, None, "lost"), (0, 5, "broken_off"))
        ):
            used = {"input_tokens": tokens, "output_tokens": tokens, "cost_micros": cost, "finish_reason": ended}
            called = {"turn_id": "t", "conversation_id": key, "provider": "p", "model": "m", "milliseconds": 1}
            await has("model_usage", id=f"{key}_{number}", created_at=at, **own, **called, **used)
    await migrate(blank_url)
    # The ledger no longer has the calls of the one that it outlived.
    assert [row["conversation_id"] for row in await store.run("SELECT * FROM fact_change")] == ["here"]
    rows = await store.run("SELECT * FROM usage_rollup ORDER BY grain")
    assert [(row["grain"], row["starts_at"], row["intent"], row["channel"], row["model"]) for row in rows] == [
        ("day", 24 * 3600 * 1_000_000, "", "api", "m"), ("hour", 26 * 3600 * 1_000_000, "", "api", "m"),
    ]  # fmt: skip
    for row in rows:
        sums = ("calls", "input_tokens", "cached_tokens", "cost_micros", "no_price", "no_tokens", "broken_off", "lost")
        assert [row[name] for name in sums] == [5, 35, 0, 70, 1, 1, 0, 1]


async def test_a_newer_database_is_refused_with_a_word_on_what_to_do(blank_url: str, clock: FrozenClock):
    await migrate(blank_url)
    await Store(blank_url).run("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(WrongDatabase, match=r"'9999'.*start the version that wrote it"):
        await open_database(blank_url, clock)


KILLED = """
import asyncio, os, signal, sys
from alembic.operations import Operations
from handrail.db.migrate import migrate

left = int(sys.argv[2])

def dies(name):
    do = getattr(Operations, name)
    def done(*args, **named):
        global left
        made = do(*args, **named)
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return made
    setattr(Operations, name, done)

for name in ("create_table", "create_index", "add_column"):
    dies(name)
asyncio.run(migrate(sys.argv[1]))
"""


@pytest.mark.parametrize("after", [1, 7, 20])
async def test_a_migration_that_is_killed_in_the_middle_can_be_run_again(blank_url: str, after: int):
    killed = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", KILLED, blank_url, str(after)], check=False, timeout=60, env=os.environ
    )
    assert killed.returncode == -signal.SIGKILL
    await migrate(blank_url)
    assert await schema_differences(blank_url) == []


async def schema_differences(url: str) -> list[Any]:
    if url.startswith("sqlite"):
        engine = create_engine(url)
        with engine.connect() as connection:
            found = differences(connection)
        engine.dispose()
        return found
    engine = create_async_engine(url.replace("postgresql://", "postgresql+asyncpg://"))
    async with engine.connect() as connection:
        found = await connection.run_sync(differences)
    await engine.dispose()
    return found


async def test_of_many_that_open_it_at_once_one_migrates(blank_url: str):
    await asyncio.gather(*(migrate(blank_url) for _ in range(3)))
    assert [dict(row) for row in await Store(blank_url).run("SELECT version_num FROM alembic_version")] == [
        {"version_num": newest_revision()}
    ]


def test_the_newest_revision_is_the_head_of_the_one_history():
    assert SCRIPTS.get_heads() == [newest_revision()]
