"""What was written before there was a key is sealed while the agent answers; keys rotate and nothing is lost."""

import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from handrail.bootstrap import services_from
from handrail.core.clock import FrozenClock
from handrail.core.jobs import DEPLOYMENT, Task
from handrail.db import Database, Prepared
from handrail.flows.data_classes import SEALED
from handrail.flows.encryption import renew_page, rewrap_page, seal_page
from handrail.flows.erasure import erase, replay
from handrail.flows.jobs import Page
from handrail.flows.readiness import readiness
from handrail.protection.auth import LOCAL_OPERATOR
from handrail.protection.encryption import Encryption, KmsUnavailable, LocalMasterKeys, MasterKeyProblem, is_sealed
from handrail.settings import read_settings
from handrail.testing import FakeKms
from tests.db.test_sealed import SECRET, write_conversation
from tests.flows.desk import Desk
from tests.flows.world import ANA, World, closed, world_over

OLD, NEW = b"o" * 32, b"n" * 32
TASK = Task("run-1", "encryption", DEPLOYMENT)


async def run(world: World, page: Page) -> dict[str, Any]:
    state = await page(world.services, TASK, {})
    while not state.get("done"):
        state = await page(world.services, TASK, state)
    return state["report"][DEPLOYMENT]


async def started(db: Database, folder: Path, clock: FrozenClock, *masters: bytes) -> Encryption:
    encryption = Encryption(db, folder, LocalMasterKeys(masters), clock)
    await encryption.start()
    return encryption


async def lying_readable(db: Database) -> list[str]:
    """Content columns that hold a value as it was written."""
    found: list[str] = []
    for table in SEALED:
        for row in await db.scan(Prepared(text(f"SELECT * FROM {table.name}")), {}):
            found += [f"{table.name}.{name}" for name in table.columns if row[name] and not is_sealed(row[name])]
    return found


@pytest.fixture
async def sealed(db: Database, tmp_path: Path, clock: FrozenClock, desk: Desk) -> AsyncIterator[World]:
    """A world with a master key over a database in which a world without one has spoken."""
    before = await world_over(db, clock)
    conversation = await before.open()
    before.head.knows("track A1001", "order_status")
    desk.acts["get_order"] = lambda order: {"status": "on its way"}
    for words in ("hello there", "track A1001"):
        await before.say(conversation, words)
    await closed(before)
    encryption = await started(db, tmp_path, clock, OLD)
    world = await world_over(db, clock, encryption=encryption, sole_owner=True)
    yield world
    await closed(world)
    await encryption.close()


class TestSealing:
    async def test_all_that_lay_readable_is_sealed_and_still_reads_the_same(self, sealed: World, db: Database) -> None:
        (conversation,) = await sealed.services.conversations.newest(ANA)
        before = await sealed.services.conversations.messages(conversation, limit=50)
        assert await lying_readable(db)
        report = await run(sealed, seal_page)
        assert report["message"] == 4
        assert await lying_readable(db) == []
        assert await sealed.services.conversations.messages(conversation, limit=50) == before

    async def test_a_second_run_has_nothing_to_do(self, sealed: World) -> None:
        await run(sealed, seal_page)
        assert set((await run(sealed, seal_page)).values()) == {0}

    async def test_a_turn_between_two_pages_keeps_its_words(self, sealed: World, db: Database) -> None:
        (conversation,) = await sealed.services.conversations.newest(ANA)
        state = await seal_page(sealed.services, TASK, {})
        await sealed.say(conversation, "hello again")
        while not state.get("done"):
            state = await seal_page(sealed.services, TASK, state)
        assert await lying_readable(db) == []
        now = await sealed.services.conversations.require(ANA, conversation.id)
        said = await sealed.services.conversations.messages(now, limit=50)
        assert "hello again" in [each.content for each in said]

    async def test_without_a_master_key_it_says_what_to_set(self, world: World) -> None:
        with pytest.raises(MasterKeyProblem, match="HANDRAIL_ENCRYPTION__MASTER_KEY"):
            await seal_page(world.services, TASK, {})


class TestRotation:
    async def test_after_a_new_data_key_nothing_lies_under_the_old_one_and_that_one_is_gone(
        self, sealed: World, clock: FrozenClock
    ) -> None:
        (conversation,) = await sealed.services.conversations.newest(ANA)
        await run(sealed, seal_page)
        before = await sealed.services.conversations.messages(conversation, limit=50)
        clock.advance(60)
        assert await run(sealed, renew_page) == {"renewed": 1}
        report = await run(sealed, seal_page)
        assert (report["message"], report["keys_destroyed"]) == (4, 1)
        assert await (await sealed.services.encryption.store()).retired() == []
        assert await sealed.services.conversations.messages(conversation, limit=50) == before

    async def test_after_a_rotation_the_old_master_key_may_be_taken_away(
        self, sealed: World, db: Database, tmp_path: Path, clock: FrozenClock
    ) -> None:
        await run(sealed, seal_page)
        both = await started(db, tmp_path, clock, NEW, OLD)
        rotating = await world_over(db, clock, encryption=both)
        assert await run(rotating, rewrap_page) == {"rewrapped": 1}
        await both.close()
        alone = await world_over(db, clock, encryption=await started(db, tmp_path, clock, NEW))
        (conversation,) = await alone.services.conversations.newest(ANA)
        assert (await alone.services.conversations.messages(conversation, limit=50))[0].content == "hello there"
        for world in (rotating, alone):
            await closed(world)
        await alone.services.encryption.close()


class TestStart:
    async def test_is_refused_without_a_master_key_once_there_are_data_keys(
        self, sealed: World, db: Database, tmp_path: Path, clock: FrozenClock
    ) -> None:
        await run(sealed, seal_page)
        with pytest.raises(MasterKeyProblem, match=r"1 data key\(s\)"):
            await Encryption(db, tmp_path, None, clock).start()

    async def test_readiness_says_what_is_off(self, sealed: World, world: World) -> None:
        assert "encryption_at_rest" not in (await readiness(sealed.services))[1]["off"]
        assert "encryption_at_rest" in (await readiness(world.services))[1]["off"]


class TestErasing:
    async def test_on_both_databases_the_key_and_the_rows_are_gone_and_a_start_repeats_nothing(
        self, sealed: World, db: Database
    ) -> None:
        await run(sealed, seal_page)
        store = await sealed.services.encryption.store()
        erased = await erase(sealed.services, LOCAL_OPERATOR, ANA.subject)
        assert (erased.conversations, erased.is_sealed) == (1, True)
        assert await store.counts() == {}
        assert await sealed.services.conversations.newest(ANA) == []
        assert await replay(sealed.services) == 0
        again = await sealed.open()
        await sealed.say(again, "hello once more")
        assert await lying_readable(db) == []


KMS = FakeKms()


def kms() -> FakeKms:
    """What a deployment's setting names."""
    return KMS


class TestKms:
    async def test_a_server_starts_on_it_moves_its_keys_there_and_goes_on_without_the_file(
        self, tmp_path: Path
    ) -> None:
        key = base64.b64encode(OLD).decode()
        service = {"kms": f"{__name__}:kms", "kms_seconds": 0.2}
        for given in ({"master_key": key}, {"master_key": key, **service}, service):
            settings = read_settings(data_dir=tmp_path / "data", encryption=given)
            async with services_from(settings) as services:
                if given == {"master_key": key}:
                    await write_conversation(services.db, services.clock.micros(), "ann", "1")
                if len(given) == 3:
                    assert (await rewrap_page(services, TASK, {}))["rewrapped"] == 1
                said = await services.conversations.turn_messages("default", "turn_1")
                assert SECRET in said[0].content

    async def test_without_its_service_it_does_not_start(self, tmp_path: Path) -> None:
        settings = read_settings(
            data_dir=tmp_path / "data", encryption={"kms": f"{__name__}:failing", "kms_seconds": 0.2}
        )
        with pytest.raises(KmsUnavailable, match="ConnectionError"):
            async with services_from(settings):
                pass


def failing() -> FakeKms:
    service = FakeKms()
    service.fails = ConnectionError("no route")
    return service
