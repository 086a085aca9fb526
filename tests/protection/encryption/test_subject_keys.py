import asyncio
import sqlite3
from pathlib import Path

import pytest

from handrail.core.clock import FrozenClock
from handrail.db import Database
from handrail.db.sqlite import SqliteDatabase
from handrail.protection.encryption import KeyStore, KeyUnavailable, LocalMasterKeys, SubjectKeys
from handrail.protection.encryption.key_store import Erasure

MASTER = LocalMasterKeys([b"m" * 32])
PLACE = "message.content\0msg_1\0conv_1"


@pytest.fixture
async def store(db: Database) -> KeyStore:
    """On both databases: the file of its own is the same file here, which makes no difference to its statements."""
    store = KeyStore(db)
    await store.prepare()
    return store


@pytest.fixture
def keys(store: KeyStore, clock: FrozenClock) -> SubjectKeys:
    return SubjectKeys(store, MASTER, clock)


class TestOf:
    async def test_a_subject_has_one_key_for_good(self, store: KeyStore, keys: SubjectKeys, clock: FrozenClock) -> None:
        first = await keys.of("acme", "ana")
        again = await SubjectKeys(store, MASTER, clock).of("acme", "ana")
        assert again.open(first.seal("hello", PLACE), PLACE) == "hello"

    async def test_subjects_and_tenants_do_not_share_keys(self, keys: SubjectKeys) -> None:
        found = [await keys.of(*each) for each in (("acme", "ana"), ("acme", "ben"), ("other", "ana"))]
        assert len({each.id for each in found}) == 3

    async def test_two_processes_that_meet_a_subject_agree_on_one_key(
        self, store: KeyStore, clock: FrozenClock
    ) -> None:
        several = [SubjectKeys(store, MASTER, clock) for _ in range(4)]
        found = await asyncio.gather(*(each.of("acme", "ana") for each in several))
        assert len({each.id for each in found}) == 1

    async def test_a_key_is_at_hand_for_a_while_only(self, keys: SubjectKeys, clock: FrozenClock) -> None:
        made = await keys.of("acme", "ana")
        assert keys.at_hand("acme", "ana") is made
        clock.advance(keys.seconds + 1)
        assert keys.at_hand("acme", "ana") is None

    async def test_no_more_keys_are_at_hand_than_may_be(self, store: KeyStore, clock: FrozenClock) -> None:
        keys = SubjectKeys(store, MASTER, clock, most=2)
        for subject in ("ana", "ben", "cal"):
            await keys.of("acme", subject)
        assert [keys.at_hand("acme", each) is not None for each in ("ana", "ben", "cal")] == [False, True, True]

    async def test_without_the_master_key_nothing_opens(self, store: KeyStore, keys: SubjectKeys) -> None:
        await keys.of("acme", "ana")
        stranger = SubjectKeys(store, LocalMasterKeys([b"x" * 32]), FrozenClock())
        with pytest.raises(KeyUnavailable):
            await stranger.of("acme", "ana")


class TestRotation:
    async def test_a_new_version_seals_and_the_old_one_still_opens(self, store: KeyStore, keys: SubjectKeys) -> None:
        old = await keys.of("acme", "ana")
        sealed = old.seal("hello", PLACE)
        await keys.renew("acme", store.owner_of("acme", "ana"))
        new = await keys.of("acme", "ana")
        assert (new.id, new.version) == (old.id, old.version + 1)
        opener = await keys.opener(sealed)
        assert opener is not None
        assert opener.open(sealed, PLACE) == "hello"

    async def test_a_retired_version_that_is_destroyed_opens_nothing(self, store: KeyStore, keys: SubjectKeys) -> None:
        sealed = (await keys.of("acme", "ana")).seal("hello", PLACE)
        await keys.renew("acme", store.owner_of("acme", "ana"))
        await store.destroy_retired(await store.retired())
        assert await keys.opener(sealed) is None
        assert (await keys.of("acme", "ana")).version == 2

    async def test_a_rotated_master_key_can_be_taken_away_afterwards(
        self, store: KeyStore, keys: SubjectKeys, clock: FrozenClock
    ) -> None:
        sealed = (await keys.of("acme", "ana")).seal("hello", PLACE)
        new = LocalMasterKeys([b"n" * 32])
        both = SubjectKeys(store, LocalMasterKeys([b"n" * 32, b"m" * 32]), clock)
        assert await both.rewrap() == 1
        assert await both.rewrap() == 0
        opener = await SubjectKeys(store, new, clock).opener(sealed)
        assert opener is not None
        assert opener.open(sealed, PLACE) == "hello"
        assert list(await store.counts()) == [new.current]


class TestDestroy:
    async def test_a_destroyed_key_is_gone_and_the_subject_begins_anew(
        self, store: KeyStore, keys: SubjectKeys, clock: FrozenClock
    ) -> None:
        old = await keys.of("acme", "ana")
        sealed = old.seal("hello", PLACE)
        owner = store.owner_of("acme", "ana")
        for _ in range(2):  # The same erasure again, in the same microsecond, does no harm.
            await store.destroy(Erasure("acme", owner, clock.micros()))
        keys.forget()
        assert await keys.opener(sealed) is None
        clock.advance(1)
        assert (await keys.of("acme", "ana")).id != old.id
        assert await store.erasures() == [Erasure("acme", owner, clock.micros() - 1_000_000)]

    async def test_the_others_keep_their_keys(self, store: KeyStore, keys: SubjectKeys, clock: FrozenClock) -> None:
        ben = await keys.of("acme", "ben")
        await store.destroy(Erasure("acme", store.owner_of("acme", "ana"), clock.micros()))
        keys.forget()
        assert (await keys.of("acme", "ben")).id == ben.id

    async def test_no_byte_of_a_destroyed_key_stays_in_any_file(self, tmp_path: Path, clock: FrozenClock) -> None:
        db = SqliteDatabase(tmp_path / "keys.db", clock)
        store = KeyStore(db)
        await store.prepare()
        await SubjectKeys(store, MASTER, clock).of("acme", "ana")
        owner = store.owner_of("acme", "ana")
        with sqlite3.connect(tmp_path / "keys.db") as read:
            (wrapped,) = read.execute("SELECT wrapped FROM data_key").fetchone()
        read.close()
        assert _found(tmp_path, wrapped)
        await store.destroy(Erasure("acme", owner, clock.micros()))
        assert not _found(tmp_path, wrapped)
        await store.close()
        assert not _found(tmp_path, wrapped)


def _found(folder: Path, text: str) -> list[str]:
    return [each.name for each in folder.iterdir() if text.encode() in each.read_bytes()]
