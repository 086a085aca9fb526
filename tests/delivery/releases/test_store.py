import sqlite3
from pathlib import Path

import pytest

from handrail.core.clock import FrozenClock
from handrail.core.errors import NotFound
from handrail.db import Conflict, Database
from handrail.delivery.releases import (
    Artefact,
    GitState,
    NewRelease,
    Release,
    ReleaseAltered,
    ReleaseCollision,
    ReleaseStore,
    Sources,
)

ONE = Sources({"agent.yaml": b"name: shop\n", "requirements.txt": b"x\n"})
TWO = Sources({"agent.yaml": b"name: shop\ndescription: b\n"})


@pytest.fixture
def store(db: Database) -> ReleaseStore:
    return ReleaseStore(db)


async def add(db: Database, sources: Sources, tenant_id: str = "default", agent: str = "shop") -> Release:
    store = ReleaseStore(db)
    async with db.batch() as batch:
        store.add(
            batch, tenant_id, NewRelease(agent, sources, "demo-operator", "a note", GitState("c0ffee", dirty=True))
        )
    return await store.get(tenant_id, sources.release_id)


async def attach(db: Database, release_id: str, artefact: Artefact) -> None:
    async with db.batch() as batch:
        ReleaseStore(db).attach(batch, "default", release_id, artefact)


async def use(db: Database, sources: Sources, tenant_id: str = "default") -> None:
    async with db.batch() as batch:
        ReleaseStore(db).use(batch, tenant_id, "shop", sources.release_id)


class TestReleases:
    async def test_come_back_as_they_were_stored(self, db: Database, store: ReleaseStore, clock: FrozenClock):
        assert await add(db, ONE) == Release(
            id=ONE.release_id,
            agent="shop",
            digest=ONE.digest,
            format_version=1,
            note="a note",
            author="demo-operator",
            git_commit="c0ffee",
            git_dirty=True,
            lock_hash=ONE.lock_hash,
            created_at=clock.micros(),
        )
        assert await store.sources("default", await store.get("default", ONE.release_id)) == ONE

    async def test_are_stored_once(self, db: Database, store: ReleaseStore):
        first = await add(db, ONE)
        with pytest.raises(Conflict):
            await add(db, ONE)
        assert await store.find_same("default", ONE) == first

    async def test_of_another_tenant_are_not_found(self, db: Database, store: ReleaseStore):
        await add(db, ONE)
        with pytest.raises(NotFound, match="handrail release list"):
            await store.get("other", ONE.release_id)
        assert await store.list("other") == []

    async def test_of_two_tenants_may_have_the_same_sources(self, db: Database, store: ReleaseStore):
        await add(db, ONE)
        other = await add(db, ONE, "other")
        assert await store.sources("other", other) == ONE

    async def test_are_listed_newest_first_and_by_agent(self, db: Database, store: ReleaseStore, clock: FrozenClock):
        await add(db, ONE)
        clock.advance(1)
        await add(db, TWO, agent="bank")
        assert [each.id for each in await store.list("default")] == [TWO.release_id, ONE.release_id]
        assert [each.id for each in await store.list("default", "shop")] == [ONE.release_id]
        assert [each.id for each in await store.list("default", limit=1)] == [TWO.release_id]

    async def test_with_the_same_id_and_other_sources_are_refused(self, db: Database, store: ReleaseStore):
        release = await add(db, ONE)

        class Lookalike(Sources):
            @property
            def release_id(self) -> str:
                return release.id

        with pytest.raises(ReleaseCollision, match=release.id):
            await store.find_same("default", Lookalike({"a": b"1"}))


class TestAlteration:
    async def test_of_a_stored_file_is_noticed(self, sqlite_db: Database, tmp_path: Path):
        release = await add(sqlite_db, ONE)
        alter(tmp_path, "UPDATE release_file SET content = x'00' WHERE path = 'agent.yaml'")
        with pytest.raises(ReleaseAltered, match=release.digest):
            await ReleaseStore(sqlite_db).sources("default", release)

    async def test_of_an_artefact_is_noticed(self, sqlite_db: Database, tmp_path: Path):
        release = await add(sqlite_db, ONE)
        await attach(sqlite_db, release.id, Artefact("intent_head", "input", b"head"))
        alter(tmp_path, "UPDATE artefact SET content = x'00'")
        with pytest.raises(ReleaseAltered, match="intent_head"):
            await ReleaseStore(sqlite_db).attached("default", release.id, "intent_head")


def alter(folder: Path, sql: str) -> None:
    connection = sqlite3.connect(folder / "handrail.db")
    with connection:
        assert connection.execute(sql).rowcount == 1
    connection.close()


class TestArtefacts:
    async def test_are_found_by_their_release_and_by_what_they_were_made_from(self, db: Database, store: ReleaseStore):
        release = await add(db, ONE)
        head = Artefact("intent_head", "input", b"\x00head")
        await attach(db, release.id, head)
        assert await store.attached("default", release.id, "intent_head") == head
        assert await store.made_from("default", "intent_head", "input") == head
        assert await store.made_from("default", "intent_head", "other") is None
        assert await store.made_from("other", "intent_head", "input") is None
        assert await store.attached("other", release.id, "intent_head") is None

    async def test_are_shared_by_releases_and_attached_once(self, db: Database, store: ReleaseStore):
        head = Artefact("intent_head", "input", b"head")
        for sources in (ONE, TWO):
            release = await add(db, sources)
            await attach(db, release.id, head)
            await attach(db, release.id, head)
        assert await store.attached("default", TWO.release_id, "intent_head") == head

    async def test_of_one_kind_are_found_newest_first(self, db: Database, store: ReleaseStore, clock: FrozenClock):
        release = await add(db, ONE)
        await attach(db, release.id, Artefact("test_results", "a", b"old"))
        clock.advance(1)
        await attach(db, release.id, Artefact("test_results", "b", b"new"))
        found = await store.attached("default", release.id, "test_results")
        assert found is not None
        assert found.content == b"new"


class TestUse:
    async def test_makes_a_release_stable_and_keeps_the_one_before(
        self, db: Database, store: ReleaseStore, clock: FrozenClock
    ):
        await add(db, ONE)
        await add(db, TWO)
        assert await store.agent("default", "shop") is None
        await use(db, ONE)
        first = await store.agent("default", "shop")
        clock.advance(1)
        await use(db, TWO)
        second = await store.agent("default", "shop")
        assert first is not None
        assert second is not None
        assert (first.stable_release_id, first.previous_release_id) == (ONE.release_id, None)
        assert (second.stable_release_id, second.previous_release_id) == (TWO.release_id, ONE.release_id)
        assert second.updated_at > first.updated_at

    async def test_of_the_stable_release_changes_nothing(self, db: Database, store: ReleaseStore, clock: FrozenClock):
        await add(db, ONE)
        await add(db, TWO)
        await use(db, ONE)
        await use(db, TWO)
        before = await store.agents("default")
        clock.advance(1)
        await use(db, TWO)
        assert await store.agents("default") == before

    async def test_of_a_release_that_is_not_there_is_refused(self, db: Database, store: ReleaseStore):
        await add(db, ONE)
        with pytest.raises(Conflict):
            await use(db, TWO)
        with pytest.raises(Conflict):
            await use(db, ONE, "other")
        assert await store.agents("default") == []
