"""Who is erased is gone from every file, a backup from before and the master key in hand or not; nobody else is."""

import base64
import contextlib
import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from handrail.bootstrap import services_from
from handrail.core import json
from handrail.core.clock import FrozenClock
from handrail.core.jobs import DEPLOYMENT, Task
from handrail.core.principal import Principal, Role
from handrail.db import Prepared
from handrail.db.backup import back_up_sqlite, restore_sqlite
from handrail.flows.access_request import told_of
from handrail.flows.encryption import renew_page
from handrail.flows.erasure import erase
from handrail.flows.indexing import Indexer
from handrail.flows.services import Services
from handrail.insight.search.tables import search_entry
from handrail.protection.auth import LOCAL_OPERATOR, PermissionDenied, Unauthenticated
from handrail.protection.encryption import DataKey, LocalMasterKeys, is_sealed
from handrail.protection.encryption.envelope import key_of
from handrail.settings import Settings, read_settings
from tests.db.test_sealed import SECRET, write_conversation
from tests.flows.desk import Desk
from tests.flows.spoken import Spoken, read_all
from tests.flows.world import ANA, World

MASTER = b"m" * 32
ENTRIES = Prepared(select(search_entry).order_by(search_entry.c.conversation_id))
ANN, BEN = Principal("default", "ann"), Principal("default", "ben")


@pytest.fixture(params=["with a master key", "without one"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    given: dict[str, Any] = {"data_dir": tmp_path / "data"}
    if request.param == "with a master key":
        given["encryption"] = {"master_key": base64.b64encode(MASTER).decode()}
    return read_settings(**given)


@pytest.fixture
def sealing(tmp_path: Path) -> Settings:
    key = base64.b64encode(MASTER).decode()
    return read_settings(data_dir=tmp_path / "data", encryption={"master_key": key})


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Services]:
    async with services_from(settings) as services:
        yield services


async def tell(services: Services, who: Principal, name: str) -> None:
    await write_conversation(services.db, services.clock.micros(), who.subject, name)


async def key_of_user(services: Services, subject: str) -> str:
    made = await services.keys.create(
        tenant_id="default", subject=subject, role=Role.END_USER, at=services.clock.micros(), note=f"of {subject}"
    )
    services.authenticator.forget()
    return made.text


async def conversations(services: Services, who: Principal) -> list[str]:
    return [each.id for each in await services.conversations.newest(who)]


def holding(folder: Path, word: str) -> list[str]:
    return [each.name for each in folder.rglob("*") if each.is_file() and word.encode() in each.read_bytes()]


class TestErase:
    async def test_all_of_the_user_is_gone_and_nothing_of_others(self, settings: Settings) -> None:
        async with opened(settings) as services:
            await tell(services, ANN, "1")
            await tell(services, BEN, "2")
            erased = await erase(services, LOCAL_OPERATOR, "ann")
            assert erased.conversations == 1
            assert await conversations(services, ANN) == []
            assert await conversations(services, BEN) == ["conv_2"]
            said = await services.conversations.turn_messages("default", "turn_2")
            assert SECRET in said[0].content

    async def test_no_file_of_the_deployment_holds_a_word(self, settings: Settings) -> None:
        async with opened(settings) as services:
            await tell(services, ANN, "1")
            await erase(services, LOCAL_OPERATOR, "ann")
            assert holding(settings.data_dir, SECRET) == []
        assert holding(settings.data_dir, SECRET) == []

    async def test_who_comes_back_begins_anew(self, settings: Settings) -> None:
        async with opened(settings) as services:
            await tell(services, ANN, "1")
            await erase(services, LOCAL_OPERATOR, "ann")
            await tell(services, ANN, "3")
        async with opened(settings) as services:
            assert await conversations(services, ANN) == ["conv_3"]
            assert SECRET in (await services.conversations.turn_messages("default", "turn_3"))[0].content

    async def test_erasing_twice_does_no_harm(self, settings: Settings) -> None:
        async with opened(settings) as services:
            await tell(services, ANN, "1")
            assert [(await erase(services, LOCAL_OPERATOR, "ann")).conversations for _ in range(2)] == [1, 0]

    async def test_it_says_what_it_cannot_promise(self, settings: Settings) -> None:
        async with opened(settings) as services:
            remains = " ".join((await erase(services, LOCAL_OPERATOR, "ann")).remains)
        assert "audit log" in remains
        assert ("backups made before still hold it in plain text" in remains) is not services.encryption.is_on

    async def test_it_is_audited_without_the_name(self, settings: Settings) -> None:
        async with opened(settings) as services:
            await erase(services, LOCAL_OPERATOR, "ann-of-leeds")
        with closing(sqlite3.connect(settings.data_dir / "handrail.db")) as db:
            rows = db.execute("SELECT body FROM audit_record WHERE action = 'subject.erased'").fetchall()
        assert len(rows) == 1
        assert "ann-of-leeds" not in rows[0][0]

    async def test_their_keys_links_and_sessions_let_nobody_in_any_more(self, settings: Settings) -> None:
        async with opened(settings) as services:
            hers, his = [await key_of_user(services, who) for who in ("ann-of-leeds", "ben-of-leeds")]
            newest = await key_of_user(services, "ann-of-leeds")
            async with services.db.batch() as batch:
                services.sessions.begin(batch, Principal("default", "ann-of-leeds", key_id="x"), at=1)
            await erase(services, LOCAL_OPERATOR, "ann-of-leeds")
            for text in (hers, newest):
                with pytest.raises(Unauthenticated):
                    await services.authenticator.authenticate(f"Bearer {text}", loopback=True)
            let_in = await services.authenticator.authenticate(f"Bearer {his}", loopback=True)
            assert let_in.subject == "ben-of-leeds"
            assert services.encryption.is_on or holding(settings.data_dir, "ann-of-leeds") == []

    async def test_the_last_key_of_all_keeps_the_door_closed(self, settings: Settings) -> None:
        async with opened(settings) as services:
            await key_of_user(services, "ann-of-leeds")
            await erase(services, LOCAL_OPERATOR, "ann-of-leeds")
            with pytest.raises(Unauthenticated):
                await services.authenticator.authenticate(None, loopback=True)
            (left,) = await services.keys.list("default")
            assert (left.subject, left.note, left.hash, left.revoked_at is not None) == ("", None, "", True)

    async def test_a_key_that_is_made_afterwards_is_good(self, settings: Settings) -> None:
        async with opened(settings) as services:
            await erase(services, LOCAL_OPERATOR, "ann")
            text = await key_of_user(services, "ann")
        async with opened(settings) as services:
            assert (await services.authenticator.authenticate(f"Bearer {text}", loopback=True)).subject == "ann"

    async def test_a_running_turn_is_stopped_and_leaves_nothing(self, world: World, desk: Desk) -> None:
        conversation = await world.open()
        stream = await world.send(conversation, "hello there")
        await erase(world.services, LOCAL_OPERATOR, ANA.subject)
        with contextlib.suppress(Exception):
            await stream.wait()
        await world.settle(stream.turn_id)
        assert await world.services.conversations.newest(ANA) == []

    async def test_an_admin_erases_their_own_tenants_users_only(self, world: World) -> None:
        admin = Principal("acme", "root", frozenset({Role.ADMIN}))
        with pytest.raises(PermissionDenied, match="another tenant"):
            await erase(world.services, admin, "ann", "default")
        with pytest.raises(PermissionDenied):
            await erase(world.services, ANA, "ben")
        await world.open()
        assert (await erase(world.services, admin, ANA.subject)).conversations == 0


class TestRestore:
    async def test_keys_that_a_backup_brings_back_are_gone_again(self, settings: Settings, tmp_path: Path) -> None:
        database = settings.data_dir / "handrail.db"
        async with opened(settings) as services:
            text = await key_of_user(services, "ann-of-leeds")
            back_up_sqlite(database, tmp_path / "backup.db")
            await erase(services, LOCAL_OPERATOR, "ann-of-leeds")
        restore_sqlite(tmp_path / "backup.db", database)
        async with opened(settings) as services:
            with pytest.raises(Unauthenticated):
                await services.authenticator.authenticate(f"Bearer {text}", loopback=True)

    async def test_a_backup_from_before_is_erased_again_before_anybody_is_answered(
        self, settings: Settings, tmp_path: Path
    ) -> None:
        database = settings.data_dir / "handrail.db"
        async with opened(settings) as services:
            await tell(services, ANN, "1")
            await tell(services, BEN, "2")
            back_up_sqlite(database, tmp_path / "backup.db")
            await erase(services, LOCAL_OPERATOR, "ann")
        restore_sqlite(tmp_path / "backup.db", database)
        async with opened(settings) as services:
            assert await conversations(services, ANN) == []
            assert await conversations(services, BEN) == ["conv_2"]
        assert SECRET not in database.read_bytes().decode("latin-1") or not services.encryption.is_on

    async def test_who_holds_all_files_and_the_master_key_opens_nothing_of_them(
        self, sealing: Settings, tmp_path: Path
    ) -> None:
        database, folder = sealing.data_dir / "handrail.db", sealing.data_dir
        async with opened(sealing) as services:
            await tell(services, ANN, "1")
            await tell(services, BEN, "2")
            back_up_sqlite(database, folder / "backup.db")
            wrapped = dict(_read(folder / "keys.db", "SELECT id, wrapped FROM data_key"))
            await erase(services, LOCAL_OPERATOR, "ann")
        restore_sqlite(folder / "backup.db", database)
        stolen = _contents(database)
        hers = {value for name, value in stolen if name.endswith("_1")}
        assert len(hers) > 8
        keys = await _unwrapped(folder / "keys.db")
        assert all(key_of(each) not in keys for each in hers)
        assert all(key_of(value) in keys for name, value in stolen if name.endswith("_2")), "his are there to be opened"
        (her_key,) = {key_of(each)[0] for each in hers}
        assert holding(folder, wrapped[her_key]) == []
        assert holding(folder, SECRET) == []

    async def test_a_key_store_from_before_is_brought_up_to_date_too(self, sealing: Settings, tmp_path: Path) -> None:
        folder = sealing.data_dir
        async with opened(sealing) as services:
            await tell(services, ANN, "1")
        shutil.copy(folder / "keys.db", tmp_path / "keys.db")
        async with opened(sealing) as services:
            await erase(services, LOCAL_OPERATOR, "ann")
        shutil.copy(tmp_path / "keys.db", folder / "keys.db")
        assert len(_read(folder / "keys.db", "SELECT id FROM data_key")) == 1
        async with opened(sealing):
            pass
        assert _read(folder / "keys.db", "SELECT id FROM data_key") == []

    async def test_an_erasure_that_was_cut_short_goes_on_at_the_next_start(self, sealing: Settings) -> None:
        async with opened(sealing) as services:
            await tell(services, ANN, "1")

            services.background.conversations = _Dies()  # pyright: ignore[reportAttributeAccessIssue]
            with pytest.raises(RuntimeError):
                await erase(services, LOCAL_OPERATOR, "ann")
        async with opened(sealing) as services:
            assert await conversations(services, ANN) == []


class _Dies:
    def delete(self, *_: object) -> None:
        raise RuntimeError("the process dies here")


class TestAccessRequest:
    async def test_everything_of_the_user_and_nothing_of_others(self, settings: Settings) -> None:
        async with opened(settings) as services:
            await tell(services, ANN, "1")
            await tell(services, BEN, "2")
            lines = [json.loads(line) async for line in await told_of(services, LOCAL_OPERATOR, "ann")]
        _, told = lines
        assert (told["id"], told["subject"]) == ("conv_1", "ann")
        assert SECRET in told["messages"][0]["content"]
        assert SECRET in told["tool_calls"][0]["result"]
        assert told["escalations"][0]["summary"] == {"said": SECRET}

    async def test_it_is_audited_and_for_admins_only(self, world: World) -> None:
        await told_of(world.services, LOCAL_OPERATOR, "ann")
        with pytest.raises(PermissionDenied):
            await told_of(world.services, ANA, "ann")


def _read(path: Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as db:
        return db.execute(sql).fetchall()


def _contents(path: Path) -> list[tuple[str, str]]:
    """Every sealed value of a file, with the name of the conversation it hangs on."""
    found: list[tuple[str, str]] = []
    for table in ("conversation", "turn", "message", "tool_call", "escalation"):
        with closing(sqlite3.connect(path)) as db:
            db.row_factory = sqlite3.Row
            for row in db.execute(f"SELECT * FROM {table}"):
                name = row["id"] if table == "conversation" else row["conversation_id"]
                found += [(name, value) for value in tuple(row) if is_sealed(value)]
    return found


async def _unwrapped(path: Path) -> dict[tuple[str, int], DataKey]:
    """What the master key makes of the key store."""
    master, keys = LocalMasterKeys([MASTER]), dict[tuple[str, int], DataKey]()
    for key_id, version, tenant_id, owner, wrapped in _read(
        path, "SELECT id, version, tenant_id, owner, wrapped FROM data_key"
    ):
        place = f"{key_id}\0{version}\0{tenant_id}\0{owner}"
        secret = await master.unwrap(master.current, base64.b64decode(wrapped), place)
        keys[key_id, version] = DataKey(key_id, version, tenant_id, owner, secret)
    return keys


class TestIndex:
    """What is known of the words of somebody who is erased, in every file."""

    async def test_nothing_of_it_is_left_in_any_file(self, settings: Settings, tmp_path: Path) -> None:
        database, backup = settings.data_dir / "handrail.db", tmp_path / "backup.db"
        async with opened(settings) as services:
            spoken = Spoken(services, FrozenClock())
            told = [await spoken.conversation(who, f"the {who}mobile is broken") for who in ("ann", "ben")]
            await read_all(services)
            back_up_sqlite(database, backup)
            words = {each["conversation_id"]: each["words"] for each in await services.db.scan(ENTRIES, {})}
            ann, ben = (words[each] for each in told)
            assert holding(settings.data_dir, ann)
            await erase(services, LOCAL_OPERATOR, "ann")
            assert [each["conversation_id"] for each in await services.db.scan(ENTRIES, {})] == told[1:]
            assert holding(tmp_path, ann) == []
        assert holding(tmp_path, ann) == []
        assert holding(tmp_path, ben) == [database.name]

    async def test_a_restored_backup_reads_it_anew(self, settings: Settings, tmp_path: Path) -> None:
        database, backup = settings.data_dir / "handrail.db", tmp_path / "backup.db"
        async with opened(settings) as services:
            await tell(services, ANN, "1")
            await tell(services, BEN, "2")
            await read_all(services)
            back_up_sqlite(database, backup)
            await erase(services, LOCAL_OPERATOR, "ann")
        restore_sqlite(backup, database)
        async with opened(settings) as services:
            assert await services.db.scan(ENTRIES, {}) == []
            await Indexer(services).catch_up()
            assert [each["conversation_id"] for each in await services.db.scan(ENTRIES, {})] == ["conv_2"]

    async def test_words_are_found_again_after_the_keys_were_renewed(self, sealing: Settings) -> None:
        async with opened(sealing) as services:
            await tell(services, ANN, "1")
            await read_all(services)
            (before,) = await services.db.scan(ENTRIES, {})
            await renew_page(services, Task("run-1", "encryption", DEPLOYMENT), {"renewed": 0})
            state: Any = {}
            while not state.get("done"):
                state = await renew_page(services, Task("run-1", "encryption", DEPLOYMENT), state)
            await Indexer(services).catch_up()
            (after,) = await services.db.scan(ENTRIES, {})
            assert before["key"] != after["key"]
            assert before["words"] != after["words"]
