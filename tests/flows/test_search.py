"""Conversations are found by what was said in them, by nobody who may not, and never once they are gone."""

import asyncio
import random
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text

from handrail.core.clock import FrozenClock
from handrail.core.principal import Principal, Role
from handrail.db import Prepared, StoreUnavailable
from handrail.db.open import open_database
from handrail.db.postgres_copy import back_up_postgres
from handrail.flows import rollup
from handrail.flows import search as flow
from handrail.flows.erasure import erase
from handrail.flows.indexing import IDLE_SECONDS, Indexer
from handrail.flows.search import search_words
from handrail.insight.scorecard import ConversationFact
from handrail.insight.search import SearchKeys
from handrail.insight.search.store import QUIET_MICROS
from handrail.insight.search.tables import search_entry, search_pending
from handrail.protection.audit import AuditQuery
from handrail.protection.auth import LOCAL_OPERATOR, PermissionDenied
from handrail.reports import search as reports
from handrail.reports.conversations import InvalidCursor, conversations
from tests.flows.desk import Desk
from tests.flows.spoken import ADMIN, STAFF, Spoken, ids, shown, window
from tests.flows.world import ANA, World, closed, secret_of, world_over

ENTRIES, PENDING = Prepared(select(search_entry)), Prepared(select(search_pending))
CARD, MAIL = "4111 1111 1111 1111", "ana.moss@example.org"


async def listed(spoken: Spoken, **filters: Any) -> Sequence[ConversationFact]:
    page = await conversations(spoken.services.db, spoken.filters(**filters), limit=100)
    return page.conversations


@pytest.fixture
def spoken(any_world: World, clock: FrozenClock) -> Spoken:
    return Spoken(any_world.services, clock)


class TestWords:
    async def test_are_found_in_what_users_and_agents_said_the_newest_first(self, spoken: Spoken) -> None:
        old = await spoken.conversation("ana", "My parcel is BROKEN", "I am sorry to hear that")
        await spoken.conversation("bo", "Where is my order?", "On its way")
        new = await spoken.conversation("ana", "hello", "Was your parcel broken?")
        assert await spoken.indexed() == 3
        found = await spoken.search("broken parcel")
        assert ids(found) == [new, old]
        assert shown(found) == "Was your [parcel] [broken]?"
        assert not found.is_cut

    async def test_that_a_later_turn_brings_are_found_too(self, spoken: Spoken, any_world: World) -> None:
        conversation = await any_world.open()
        await any_world.say(conversation, "hello there")
        await spoken.indexed()
        assert ids(await spoken.search("umbrella")) == []
        await any_world.say(conversation, "my umbrella is gone")
        await spoken.indexed()
        assert ids(await spoken.search("umbrella model")) == [conversation.id]

    async def test_of_identifiers_are_not_in_the_index_nor_in_what_is_shown(self, spoken: Spoken) -> None:
        await spoken.conversation("ana", f"refund {MAIL} with card {CARD}")
        await spoken.indexed()
        found = await spoken.search("refund card")
        assert MAIL not in shown(found)
        assert "4111" not in shown(found)
        for part in ("moss", "4111", "1111"):
            again = await spoken.search(part)
            assert again.opened == 0, part
        assert (await spoken.search(MAIL)).has_identifier

    async def test_in_quotes_follow_one_another(self, spoken: Spoken) -> None:
        right = await spoken.conversation("ana", "the refund was not paid to me")
        await spoken.conversation("bo", "not me: it was paid to another, a refund")
        await spoken.indexed()
        found = await spoken.search('"not paid to me"')
        assert ids(found) == [right]
        assert shown(found) == "the refund was [not paid to me]"
        assert found.opened == 2

    async def test_are_combined_with_the_filters_of_the_list(self, spoken: Spoken) -> None:
        mine = await spoken.conversation("ana", "a broken cup")
        other = await spoken.conversation("bo", "a broken plate", channel="chat")
        await spoken.indexed()
        assert ids(await spoken.search("broken", filters=spoken.filters(subject="ana"))) == [mine]
        assert ids(await spoken.search("broken", filters=spoken.filters(channel="chat", intent="refund"))) == [other]
        assert ids(await spoken.search("broken", filters=spoken.filters(failed=True))) == []
        assert ids(await spoken.search("broken", filters=spoken.filters(escalated=False))) == [other, mine]
        assert ids(await spoken.search("broken", filters=spoken.filters(since=1, until=2))) == []

    async def test_are_not_found_by_a_filter_that_fits_no_more_and_are_by_the_new_one_once_that_is_read(
        self, spoken: Spoken, any_world: World
    ) -> None:
        """An intent changes later, without a word being said."""
        conversation = await spoken.conversation("ana", "a broken cup")
        await spoken.indexed()
        corrected = Prepared(text("UPDATE turn SET intent = 'complaint'"))
        async with any_world.db.batch() as batch:
            batch.add(corrected, {})
            any_world.services.facts.changed(batch, "default", conversation, at=1)
        of_old, of_new = spoken.filters(intent="refund"), spoken.filters(intent="complaint")
        assert ids(await spoken.search("broken", filters=of_old)) == [conversation]
        await rollup.catch_up(any_world.services, window)
        assert ids(await spoken.search("broken", filters=of_old)) == []
        await spoken.indexed()
        assert ids(await spoken.search("broken", filters=of_new)) == [conversation]
        assert (await spoken.search("broken", filters=of_old)).opened == 0

    async def test_come_page_by_page(self, spoken: Spoken) -> None:
        said = [await spoken.conversation("ana", f"umbrella {number}") for number in range(5)]
        await spoken.indexed()
        seen: list[str] = []
        cursor: str | None = None
        for _ in range(3):
            page = await spoken.search("umbrella", cursor=cursor, limit=2)
            seen, cursor = seen + ids(page), page.next_cursor
        assert seen == said[::-1]
        assert cursor is None
        with pytest.raises(InvalidCursor):
            await spoken.search("umbrella", cursor="x")

    async def test_are_looked_for_in_so_many_conversations_and_no_more(
        self, spoken: Spoken, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(flow, "MOST_OPENED", 2)
        right = await spoken.conversation("ana", "green tea")
        for _ in range(3):
            await spoken.conversation("ana", "tea, green")
        await spoken.indexed()
        first = await spoken.search('"green tea"', limit=1)
        assert (ids(first), first.opened, first.is_cut) == ([], 2, True)
        second = await spoken.search('"green tea"', limit=1, cursor=first.next_cursor)
        assert (ids(second), second.is_cut, second.next_cursor) == ([right], False, None)

    @pytest.mark.parametrize("odd", ["", "   ", "the and of", "x", '""', "*", 'NEAR("a" b)', "'; --", "\u202e", "\0"])
    async def test_of_which_none_is_told_find_nothing(self, spoken: Spoken, odd: str) -> None:
        await spoken.conversation("ana", "something that was said")
        await spoken.indexed()
        assert ids(await spoken.search(odd)) == []

    async def test_may_be_long_and_in_any_script(self, spoken: Spoken) -> None:
        arabic = await spoken.conversation("ana", "أين طلبي؟ لم يصل بعد")
        chinese = await spoken.conversation("ana", "我的订单在哪里？")
        accents = await spoken.conversation("ana", "Où est ma commande, s'il vous plaît? 🙂 ＡＢＣ１２")
        await spoken.indexed()
        assert ids(await spoken.search("طلبي")) == [arabic]
        assert ids(await spoken.search("订单")) == [chinese]
        assert ids(await spoken.search("PLAIT ou abc12")) == [accents]
        assert ids(await spoken.search("🙂 plait")) == [accents]
        assert ids(await spoken.search("word " * 2000 + "plait")) == []


class TestWaysOfLooking:
    """Both that PostgreSQL has, its newest entries and its index, and SQLite's."""

    @pytest.fixture(autouse=True)
    def with_few_newest(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        monkeypatch.setattr(reports, "NEWEST", 3)
        reports._statements.cache_clear()  # pyright: ignore[reportPrivateUsage]
        yield
        reports._statements.cache_clear()  # pyright: ignore[reportPrivateUsage]

    async def test_name_what_looking_at_each_entry_would(self, spoken: Spoken, any_world: World) -> None:
        rng, said = random.Random(7), ("cup", "plate", "kettle", "spoon")
        for number in range(24):
            spoke = " ".join(rng.sample(said[: 2 + number % 3], k=2))
            place = {"agent": rng.choice("ab"), "channel": rng.choice(("api", "chat"))}
            release = f"rel_{number // 8}"
            await spoken.conversation(rng.choice(("ana", "bo")), spoke, release_id=release, **place)
        await spoken.indexed()
        there = await listed(spoken)
        places = [each.started_at for each in there]
        entries = {row["conversation_id"]: row["words"] for row in await any_world.db.scan(ENTRIES, {})}
        key = await any_world.services.search.keys.of("default")
        for _ in range(40):
            words = [key.word(each) for each in rng.sample((*said, "fork"), k=rng.choice((1, 1, 2)))]
            more = {
                "agent": rng.choice((None, None, "a", "b", "c")), "channel": rng.choice((None, None, "api", "chat")),
                "release_id": rng.choice((None, None, "rel_0", "rel_2")), "subject": rng.choice((None, None, "ana")),
                "intent": rng.choice((None, None, "refund", "chat")), "until": rng.choice((None, None, *places)),
                "since": rng.choice((None, *places)), "failed": rng.choice((None, None, False)),
                "escalated": rng.choice((None, None, None, True)), "status": rng.choice((None, None, "pending")),
            }  # fmt: skip
            filters, limit = spoken.filters(**more), rng.choice((1, 3, 50))
            has = {name for name, words_of in entries.items() if all(word in words_of.split() for word in words)}
            right = [each.conversation_id for each in await listed(spoken, **more) if each.conversation_id in has]
            found = await reports.candidates(any_world.db, filters, words, cursor=None, limit=limit)
            assert [each.conversation_id for each in found] == right[:limit], (more, limit)
            for each in found[-1:]:
                behind = await reports.candidates(any_world.db, filters, words, cursor=each.cursor, limit=limit)
                assert [one.conversation_id for one in behind] == right[limit : 2 * limit], (more, limit)


class TestIdentifiers:
    @pytest.mark.parametrize(
        ("said", "sought"),
        [
            (f"write to {MAIL}", "ANA.Moss@Example.org "),
            (f"my card is {CARD}", "4111-1111-1111-1111"),
            ("call me at +44 7700 900123", "07700 900 123"),
            ("my IBAN is DE89 3704 0044 0532 0130 00", "de89370400440532013000"),
        ],
    )
    async def test_are_found_however_they_are_written(self, spoken: Spoken, said: str, sought: str) -> None:
        right = await spoken.conversation("ana", f"hello, {said}")
        await spoken.conversation("bo", "hello, my card is 5555 5555 5555 4444")
        await spoken.indexed()
        found = await spoken.search_for(sought)
        assert ids(found) == [right]
        assert sought.strip() not in shown(found)
        assert "[<" in shown(found)

    async def test_are_told_by_all_of_them_and_not_by_their_end(self, spoken: Spoken) -> None:
        await spoken.conversation("ana", f"my card is {CARD}")
        await spoken.indexed()
        found = await spoken.search_for("0000 0001 1111 1111")
        assert (ids(found), found.opened) == ([], 1)

    async def test_that_share_their_few_bits_are_told_apart_by_opening(
        self, spoken: Spoken, any_world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("handrail.insight.search.blind.SearchKey.identifier", lambda *_: "~same")
        right = await spoken.conversation("ana", f"write to {MAIL}")
        await spoken.conversation("bo", "write to bo@example.org")
        await spoken.indexed()
        found = await spoken.search_for(MAIL)
        assert (ids(found), found.opened) == ([right], 2)

    async def test_are_for_those_alone_who_may_read_them(self, spoken: Spoken) -> None:
        for reader in (STAFF, ANA, Principal("default", "op", frozenset({Role.OPERATOR}))):
            with pytest.raises(PermissionDenied, match="personal:read"):
                await spoken.search_for(MAIL, reader)
        narrowed = Principal("default", "root", frozenset({Role.ADMIN}), scopes=frozenset({"personal:read"}))
        with pytest.raises(PermissionDenied, match="conversations:read"):
            await spoken.search_for(MAIL, narrowed)

    async def test_stand_neither_in_the_audit_record_nor_in_the_index(self, spoken: Spoken, any_world: World) -> None:
        await spoken.conversation("ana", f"write to {MAIL}")
        await spoken.indexed()
        await spoken.search_for(MAIL)
        await spoken.search("write")
        await any_world.services.audit.flush()
        found = await any_world.services.audit.store.search(AuditQuery("default", action="conversations.searched"))
        assert sorted(each.target for each in found) == ["conversations:identifier", "conversations:words"]
        assert "moss" not in str(found)
        assert "moss" not in str([dict(row) for row in await any_world.db.scan(ENTRIES, {})])


class TestTenants:
    async def test_never_find_each_others_words(self, spoken: Spoken, clock: FrozenClock, any_world: World) -> None:
        theirs = Spoken(any_world.services, clock, "acme")
        await theirs.conversation("ana", f"a secret umbrella of {MAIL}")
        await spoken.indexed()
        reader = Principal("acme", "vera", frozenset({Role.ADMIN}))
        assert len((await theirs.search("umbrella", reader)).hits) == 1
        assert ids(await spoken.search("umbrella")) == []
        assert ids(await spoken.search_for(MAIL)) == []

    async def test_find_nothing_of_each_other_even_with_the_same_key(
        self, spoken: Spoken, clock: FrozenClock, any_world: World
    ) -> None:
        async def same(_: str) -> bytes:
            return b"one key"

        any_world.services.search.keys = SearchKeys(same)
        theirs = Spoken(any_world.services, clock, "acme")
        await theirs.conversation("ana", f"a secret umbrella of {MAIL}")
        await spoken.indexed()
        assert (await spoken.search("umbrella")).opened == 0
        assert (await spoken.search_for(MAIL)).opened == 0
        for filters in (spoken.filters(subject="ana"), spoken.filters(agent="shop")):
            assert (await spoken.search("umbrella", filters=filters)).opened == 0


class TestIndexing:
    async def test_waits_until_a_conversation_is_quiet_but_not_for_ever(
        self, spoken: Spoken, any_world: World, clock: FrozenClock
    ) -> None:
        services = any_world.services
        conversation = await spoken.conversation("ana", "umbrella")
        for seq in range(2, 20):
            await spoken.indexed_now()
            if ids(await spoken.search("umbrella")):
                break
            clock.advance(9)
            await spoken.turn(conversation, seq, ("and more",))
        assert seq > 3
        assert (await services.search.lag("default")).count <= 1
        assert (await services.search.lag("acme")).count == 0

    async def test_is_not_looked_for_each_second_where_nothing_waits_and_is_at_once_where_something_was_counted(
        self, spoken: Spoken, any_world: World, clock: FrozenClock
    ) -> None:
        services = any_world.services
        indexer = Indexer(services)
        look = rollup._look  # pyright: ignore[reportPrivateUsage]
        assert indexer.is_due
        await look(services, window, indexer)
        assert not indexer.is_due
        conversation = await spoken.conversation("ana", "umbrella")
        await look(services, window, indexer)
        assert indexer.is_due
        clock.advance(QUIET_MICROS / 1e6 + 1)
        await look(services, window, indexer)
        assert ids(await spoken.search("umbrella")) == [conversation]
        assert not indexer.is_due
        clock.advance(IDLE_SECONDS)
        assert indexer.is_due

    async def test_reads_nothing_again_in_which_nothing_was_said(self, spoken: Spoken, any_world: World) -> None:
        conversation = await spoken.conversation("ana", "umbrella")
        await spoken.indexed()
        (before,) = await any_world.db.scan(ENTRIES, {})
        async with any_world.db.batch() as batch:
            any_world.services.facts.changed(batch, "default", conversation, at=1)
        assert await spoken.indexed() == 1
        (after,) = await any_world.db.scan(ENTRIES, {})
        assert after["indexed_at"] == before["indexed_at"]
        assert await any_world.db.scan(PENDING, {}) == []

    async def test_with_a_new_key_reads_everything_again(self, spoken: Spoken, any_world: World) -> None:
        conversation = await spoken.conversation("ana", "umbrella")
        await spoken.indexed()

        async def renewed(tenant_id: str) -> bytes:
            return b"new" + await secret_of(tenant_id)

        any_world.services.search.keys = SearchKeys(renewed)
        assert ids(await spoken.search("umbrella")) == []
        assert await spoken.indexed() == 1
        assert ids(await spoken.search("umbrella")) == [conversation]

    async def test_what_can_not_be_read_keeps_no_other(
        self, spoken: Spoken, any_world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await spoken.conversation("ana", "broken umbrella")
        sound = await spoken.conversation("bo", "sound umbrella")

        def words(text: str) -> object:
            if "broken" in text:
                raise ValueError("can't be read")
            return read(text)

        read = Indexer.catch_up.__globals__["words_in"]
        monkeypatch.setattr("handrail.flows.indexing.words_in", words)
        await spoken.indexed()
        assert ids(await spoken.search("umbrella")) == [sound]
        rendered = any_world.services.metrics.render().decode()
        assert "search_failures_total 1.0" in rendered
        assert "search_waiting 0.0" in rendered

    async def test_of_an_erased_user_leaves_nothing(self, spoken: Spoken, any_world: World) -> None:
        await spoken.conversation("ana", "umbrella")
        other = await spoken.conversation("bo", "umbrella")
        await spoken.indexed()
        await spoken.conversation("ana", "another umbrella")
        await erase(any_world.services, LOCAL_OPERATOR, "ana")
        await spoken.indexed()
        assert [row["conversation_id"] for row in await any_world.db.scan(ENTRIES, {})] == [other]
        assert await any_world.db.scan(PENDING, {}) == []
        assert ids(await spoken.search("umbrella")) == [other]

    async def test_a_copy_of_an_entry_finds_nobody_who_is_gone(self, spoken: Spoken, any_world: World) -> None:
        """The confirming look is what finds: an entry whose words are none of the conversation's is no find."""
        await spoken.conversation("ana", "umbrella")
        await spoken.indexed()
        words = Prepared(text("UPDATE message SET content = 'nothing'"))
        async with any_world.db.batch() as batch:
            batch.add(words, {})
        found = await spoken.search("umbrella")
        assert (ids(found), found.opened) == ([], 1)


class TestFailures:
    async def test_a_broken_index_keeps_nothing_from_being_counted(
        self, spoken: Spoken, any_world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        conversation = await spoken.conversation("ana", "umbrella")
        services = any_world.services

        async def broken(*_: object, **__: object) -> None:
            raise StoreUnavailable("the index can't be read")

        monkeypatch.setattr(services.search, "tenants", broken)
        task = rollup.keep(services)
        try:
            for _ in range(100):
                if await services.facts.of([conversation]):
                    break
                await asyncio.sleep(0.05)
        finally:
            task.cancel()
        assert await services.facts.of([conversation])
        assert (await services.search.lag("default")).count == 1


class TestReaders:
    async def test_end_users_search_their_own_and_nobody_notes_it(self, spoken: Spoken, any_world: World) -> None:
        await spoken.conversation(ANA.subject, "umbrella")
        await spoken.indexed()
        found = await search_words(any_world.services, ANA, spoken.filters(subject=ANA.subject), "umbrella")
        assert len(found.hits) == 1
        await any_world.services.audit.flush()
        query = AuditQuery("default", action="conversations.searched")
        assert await any_world.services.audit.store.search(query) == []

    async def test_with_other_scopes_search_nothing(self, spoken: Spoken) -> None:
        reader = Principal("default", "root", frozenset({Role.ADMIN}), scopes=frozenset({"insight:read"}))
        with pytest.raises(PermissionDenied, match="conversations:read"):
            await spoken.search("umbrella", reader)
        assert ids(await spoken.search("umbrella", ADMIN)) == []


@pytest.mark.postgres
async def test_a_copy_of_postgresql_has_no_index_and_says_what_is_to_be_read(
    postgres_url: str, clock: FrozenClock, tmp_path: Path, desk: Desk
) -> None:
    db = await open_database(postgres_url, clock)
    world = await world_over(db, clock)
    spoken = Spoken(world.services, clock)
    conversation = await spoken.conversation("ana", "umbrella")
    await spoken.indexed()
    assert len(await db.scan(ENTRIES, {})) == 1
    await back_up_postgres(postgres_url, tmp_path / "copy.db")
    with closing(sqlite3.connect(tmp_path / "copy.db")) as copy:
        assert copy.execute("SELECT count(*) FROM search_entry").fetchone() == (0,)
        assert copy.execute("SELECT conversation_id FROM search_pending").fetchall() == [(conversation,)]
    await closed(world)
    await db.close()
