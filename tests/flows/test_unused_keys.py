"""The key of a user of whom nothing is left is destroyed, and nobody who comes back loses a word."""

import asyncio
import base64
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import delete

from handrail.bootstrap import services_from
from handrail.core.clock import FrozenClock
from handrail.core.jobs import DEPLOYMENT, Task
from handrail.core.principal import Principal
from handrail.db import Database, Prepared
from handrail.db.metadata import metadata
from handrail.db.open import open_database
from handrail.flows.data_classes import SEALED
from handrail.flows.services import Services
from handrail.flows.unused_keys import GRACE_MICROS, collect_keys
from handrail.protection.audit import AuditQuery
from handrail.protection.encryption import Encryption, LocalMasterKeys
from handrail.settings import Settings, read_settings
from tests.db.test_sealed import SECRET, write_conversation

TASK = Task("run-1", "unused_keys", DEPLOYMENT)
HOUR = GRACE_MICROS / 1_000_000
MASTER = base64.b64encode(b"m" * 32).decode()
# Children first.
_TABLES = ("escalation", "tool_call", "message", "turn", "conversation")


def sealing(folder: Path) -> Settings:
    return read_settings(data_dir=folder / "data", encryption={"master_key": MASTER})


async def run(services: Services) -> dict[str, int]:
    return (await collect_keys(services, TASK, {}))["report"][DEPLOYMENT]


async def delete_all(db: Database, who: str) -> None:
    """As retention does: the rows are gone, and nothing is said to the key store."""
    c = metadata.tables["conversation"]
    mine = [row["id"] for row in await db.scan(Prepared(c.select().where(c.c.subject == who)), {})]
    async with db.batch() as batch:
        for name in _TABLES:
            table = metadata.tables[name]
            column = table.c.id if name == "conversation" else table.c.conversation_id
            batch.add(Prepared(delete(table).where(column.in_(mine))), {})


async def keys_of(services: Services, who: str) -> list[bool]:
    """Of each key of theirs, whether it is retired."""
    store = await services.encryption.store()
    owner = store.owner_of("default", who)
    return [each.retired_at is not None for each in await store.page(after=("", 0), limit=99) if each.owner == owner]


class TestCollecting:
    async def test_a_key_is_retired_first_and_destroyed_by_a_later_run(self, tmp_path: Path) -> None:
        clock = FrozenClock()
        async with services_from(sealing(tmp_path), clock) as services:
            for number, who in enumerate(("ann", "ben")):
                await write_conversation(services.db, clock.micros(), who, str(number))
            await delete_all(services.db, "ann")
            clock.advance(HOUR)
            assert await run(services) == {"keys_retired": 1, "keys_destroyed": 0}
            assert await run(services) == {"keys_retired": 0, "keys_destroyed": 0}
            clock.advance(HOUR)
            assert await run(services) == {"keys_retired": 0, "keys_destroyed": 1}
            assert (await keys_of(services, "ann"), await keys_of(services, "ben")) == ([], [False])
            said = await services.conversations.turn_messages("default", "turn_1")
            assert SECRET in said[0].content

    async def test_it_is_on_record_by_number(self, tmp_path: Path) -> None:
        clock = FrozenClock()
        async with services_from(sealing(tmp_path), clock) as services:
            await write_conversation(services.db, clock.micros(), "ann")
            await delete_all(services.db, "ann")
            for _ in range(2):
                clock.advance(HOUR)
                await run(services)
            (record,) = await services.audit.store.search(AuditQuery("default", action="data_keys.destroyed"))
            assert '"keys":1' in record.body.replace(" ", "")

    async def test_a_key_that_was_made_a_moment_ago_waits_for_its_first_row(self, tmp_path: Path) -> None:
        clock = FrozenClock()
        async with services_from(sealing(tmp_path), clock) as services:
            await services.encryption.require_keys().of("default", "ann")
            assert await run(services) == {"keys_retired": 0, "keys_destroyed": 0}

    async def test_who_comes_back_between_the_two_runs_keeps_what_they_say(self, tmp_path: Path) -> None:
        clock = FrozenClock()
        async with services_from(sealing(tmp_path), clock) as services:
            await write_conversation(services.db, clock.micros(), "ann", "1")
            await delete_all(services.db, "ann")
            clock.advance(HOUR)
            await run(services)
            await write_conversation(services.db, clock.micros(), "ann", "2")
            clock.advance(HOUR)
            assert await run(services) == {"keys_retired": 0, "keys_destroyed": 0}
            assert SECRET in (await services.conversations.turn_messages("default", "turn_2"))[0].content

    async def test_another_process_that_has_the_key_at_hand_loses_nothing(self, tmp_path: Path) -> None:
        clock, folder = FrozenClock(), sealing(tmp_path)
        async with services_from(folder, clock) as services:
            await write_conversation(services.db, clock.micros(), "ann", "1")
            await delete_all(services.db, "ann")
            clock.advance(HOUR)
            other = await elsewhere(folder, clock)
            await other.require_keys().of("default", "ann")
            assert (await run(services))["keys_retired"] == 1
            await write_conversation(other.sealed(SEALED), clock.micros(), "ann", "2")
            assert await keys_of(services, "ann") == [True]
            clock.advance(HOUR)
            assert (await run(services))["keys_destroyed"] == 0
            assert SECRET in (await services.conversations.turn_messages("default", "turn_2"))[0].content
            await other.close()

    async def test_without_a_master_key_there_is_nothing_to_do(self, tmp_path: Path) -> None:
        async with services_from(read_settings(data_dir=tmp_path), FrozenClock()) as services:
            assert await collect_keys(services, TASK, {}) == {"done": True}


async def elsewhere(settings: Settings, clock: FrozenClock) -> Encryption:
    """What another process has: keys of its own at hand."""
    encryption = Encryption(
        await open_database(settings.url, clock, seconds=5), settings.data_dir, LocalMasterKeys([b"m" * 32]), clock
    )
    await encryption.start()
    return encryption


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["here says", "there says", "delete", "run", "wait", "wait long"]), st.sampled_from("ab")
    ),
    max_size=14,
)


@given(STEPS)
@settings(max_examples=6)
def test_whatever_happens_in_whatever_order_all_that_is_there_can_be_read(steps: list[tuple[str, str]]) -> None:
    folder = Path(tempfile.mkdtemp())
    try:
        asyncio.run(_take(steps, sealing(folder)))
    finally:
        shutil.rmtree(folder)


async def _take(steps: list[tuple[str, str]], folder: Settings) -> None:
    clock, said = FrozenClock(), Counter[str]()
    async with services_from(folder, clock) as services:
        other = await elsewhere(folder, clock)
        for number, (step, who) in enumerate(steps):
            if step.endswith("says"):
                db = services.db if step.startswith("here") else other.sealed(SEALED)
                await write_conversation(db, clock.micros(), who, str(number))
                said[who] += 1
            elif step == "delete":
                await delete_all(services.db, who)
                said[who] = 0
            elif step == "run":
                await run(services)
            else:
                clock.advance(20 if step == "wait" else HOUR)
        for who, count in said.items():
            mine = await services.conversations.newest(Principal("default", who))
            assert len(mine) == count
            for each in mine:
                messages = await services.conversations.messages(each, limit=9)
                assert SECRET in messages[0].content
        await other.close()


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from handrail.bootstrap import services_from
from handrail.core.clock import FrozenClock
from handrail.flows.unused_keys import collect_keys
from handrail.protection.encryption import KeyStore
from tests.flows.test_unused_keys import HOUR, TASK, sealing

async def dies(*_args, **_named):
    os.kill(os.getpid(), signal.SIGKILL)

async def main():
    clock = FrozenClock()
    clock.advance(2 * HOUR)
    async with services_from(sealing(Path(sys.argv[1])), clock) as services:
        setattr(KeyStore, sys.argv[2], dies)
        await collect_keys(services, TASK, {})

asyncio.run(main())
"""


@pytest.mark.parametrize("dies_at", ["destroy_retired", "scrub"])
async def test_a_run_that_is_killed_is_made_up_for_by_the_next(tmp_path: Path, dies_at: str) -> None:
    clock = FrozenClock()
    async with services_from(sealing(tmp_path), clock) as services:
        for number, who in enumerate(("ann", "ben")):
            await write_conversation(services.db, clock.micros(), who, str(number))
        await delete_all(services.db, "ann")
        clock.advance(HOUR)
        await run(services)
        clock.advance(HOUR)
    child = subprocess.run(  # noqa: ASYNC221 - nothing else runs meanwhile
        [sys.executable, "-c", KILLED, str(tmp_path), dies_at], cwd=Path(__file__).parents[2], timeout=60
    )
    assert child.returncode == -9
    async with services_from(sealing(tmp_path), clock) as services:
        for _ in range(2):
            await run(services)
            clock.advance(HOUR)
        assert (await keys_of(services, "ann"), await keys_of(services, "ben")) == ([], [False])
        assert SECRET in (await services.conversations.turn_messages("default", "turn_1"))[0].content


def test_all_that_is_sealed_hangs_on_a_conversation() -> None:
    """Who has no conversation has nothing sealed. A room with an anchor of its own has to be asked by the job too."""
    anchors = {each.anchor for each in SEALED if each.name != "conversation"}
    assert anchors <= {"conversation_id", "approval_id"}


async def test_the_key_of_a_tenant_stays_for_as_long_as_somebody_of_it_is_there(
    tmp_path: Path, clock: FrozenClock
) -> None:
    async with services_from(sealing(tmp_path), clock=clock) as services:
        await write_conversation(services.db, clock.micros(), "ann", "1")
        before = (await services.search.keys.of("default")).name
        for _ in range(3):
            clock.advance(HOUR + 1)
            await run(services)
        assert (await services.search.keys.of("default")).name == before
        await delete_all(services.db, "ann")
        for _ in range(2):
            clock.advance(HOUR + 1)
            await run(services)
        assert (await services.search.keys.of("default")).name != before
