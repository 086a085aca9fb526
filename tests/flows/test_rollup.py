"""Counting what became of conversations, from turns to sums."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import date

import pytest
from sqlalchemy import bindparam, delete, select, text, update

from handrail.core.clock import FrozenClock
from handrail.core.principal import Principal, Role
from handrail.db import Database, Prepared, StoreUnavailable
from handrail.db.totals import LARGEST
from handrail.flows import rollup
from handrail.flows.erasure import erase
from handrail.flows.feedback import FeedbackWanted, give_feedback
from handrail.flows.rollup import Windows, catch_up, count_page, leads, sweep_minutes
from handrail.insight.scorecard import DEFAULT_WINDOW_MICROS, FactStore, StoredFact, Transcript
from handrail.insight.scorecard.tables import (
    conversation_fact,
    conversation_rollup,
    fact_change,
    fact_folder,
    turn_rollup,
)
from handrail.reports.filters import Filters
from handrail.reports.series import summary
from handrail.reports.spending import DaySpent, spent_per_day
from handrail.serving.conversations.tables import tool_call
from tests.flows.desk import Desk
from tests.flows.world import ANA, PROJECT, World, closed, until, world_over
from tests.written import ANSWERED, DENIED, FAILED, REFUND, Written

ADMIN = Principal("default", "boss", frozenset({Role.ADMIN}))
HOUR = 3600
NOTES = Prepared(select(fact_change))
ROLLED_UP = Prepared(select(turn_rollup))
MINUTES = Prepared(select(turn_rollup).where(turn_rollup.c.grain == "minute"))
SUMS = Prepared(select(conversation_rollup))
FACTS = Prepared(select(conversation_fact))
DAMAGE = Prepared(update(tool_call).where(tool_call.c.conversation_id == bindparam("of")).values(tripped="{no json"))


async def window(_: Transcript) -> int:
    return DEFAULT_WINDOW_MICROS


async def fact_of(world: World, conversation_id: str) -> StoredFact:
    return (await world.services.facts.of([conversation_id]))[conversation_id]


def everything(tenant_id: str = "default") -> Filters:
    return Filters(tenant_id, 0, 1 << 52)


@pytest.fixture
async def written(any_world: World, clock: FrozenClock) -> Written:
    return Written(any_world.db, clock)


class TestCounting:
    async def test_a_turn_is_counted_with_what_became_of_it(self, any_world: World, desk: Desk) -> None:
        world = any_world
        desk.acts["get_order"] = lambda order: {"status": "shipped"}
        world.head.knows("where is A1001?", "order_status")
        conversation = await world.open()
        await world.say(conversation, "where is A1001?")
        assert await catch_up(world.services, window) == 1
        found = (await fact_of(world, conversation.id)).fact
        assert (found.subject, found.intent, found.channel) == (ANA.subject, "order_status", "api")
        assert (found.turns, found.tool_calls, found.is_completed, found.is_closed) == (1, 1, True, False)
        sums = await summary(world.db, everything())
        assert (sums.turns.turns, sums.turns.completed, sums.conversations.pending) == (1, 1, 1)
        assert await world.db.fetch_all(NOTES, {}) == []

    async def test_what_staff_say_of_it_is_in_no_rate_of_the_users(self, any_world: World) -> None:
        world = any_world
        conversation = await world.open()
        await world.say(conversation, "hello")
        for who, csat, thumb in ((ANA, 5, 1), (ADMIN, 1, -1)):
            await give_feedback(world.services, who, conversation.id, FeedbackWanted("csat", csat))
            await give_feedback(world.services, who, conversation.id, FeedbackWanted("thumb", thumb))
        await catch_up(world.services, window)
        sums = (await summary(world.db, everything())).conversations
        assert (sums.csat_sum, sums.csat_count, sums.thumbs_up, sums.thumbs_down) == (5, 1, 1, 0)

    async def test_a_window_that_ends_is_noticed_without_a_note(
        self, any_world: World, written: Written, clock: FrozenClock
    ) -> None:
        await written.conversation("ana", ANSWERED)
        await catch_up(any_world.services, window)
        clock.advance(24 * HOUR + 1)
        assert await catch_up(any_world.services, window) == 1
        assert await catch_up(any_world.services, window) == 0
        sums = (await summary(any_world.db, everything())).conversations
        assert (sums.conversations, sums.closed, sums.resolved) == (1, 1, 1)

    async def test_who_comes_back_takes_the_resolution_of_the_one_before_away(
        self, any_world: World, written: Written, clock: FrozenClock
    ) -> None:
        first = await written.conversation("ana", ANSWERED)
        await catch_up(any_world.services, window)
        clock.advance(HOUR)
        await written.conversation("ana", REFUND)
        await written.conversation("bo", ANSWERED)
        await catch_up(any_world.services, window)
        assert (await fact_of(any_world, first)).fact.is_resolved
        await written.conversation("ana", ANSWERED)
        while await catch_up(any_world.services, window):
            pass
        assert (await fact_of(any_world, first)).fact.is_recontacted
        assert not (await fact_of(any_world, first)).fact.is_resolved

    async def test_pages_are_worked_off_until_nothing_waits(
        self, any_world: World, written: Written, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(rollup, "PAGE", 2)
        for number in range(5):
            await written.conversation(f"user-{number}", ANSWERED)
        assert await catch_up(any_world.services, window) == 5
        assert "rollup_conversations_total 5.0" in any_world.services.metrics.render().decode()

    async def test_what_can_not_be_read_keeps_no_other(
        self, any_world: World, written: Written, clock: FrozenClock
    ) -> None:
        damaged = await written.conversation("ana", REFUND)
        sound = await written.conversation("bo", REFUND)
        async with any_world.db.batch() as batch:
            batch.add(DAMAGE, {"of": damaged})
        await catch_up(any_world.services, window)
        assert set(await any_world.services.facts.of([damaged, sound])) == {sound}
        assert await any_world.db.fetch_all(NOTES, {}) == []
        assert "rollup_failures_total 1.0" in any_world.services.metrics.render().decode()

    async def test_values_that_no_column_holds_keep_nobody_else_from_being_counted(
        self, any_world: World, written: Written
    ) -> None:
        absurd = await written.conversation("ana", REFUND)
        sound = await written.conversation("bo", REFUND)
        for _ in range(2):
            await written.is_worth(absurd, 5 * 10**18)
        await written.is_worth(sound, 7)
        await catch_up(any_world.services, window)
        assert set(await any_world.services.facts.of([absurd, sound])) == {sound}
        assert await any_world.db.fetch_all(NOTES, {}) == []
        assert (await summary(any_world.db, everything())).conversations.value_micros == 7

    async def test_a_sum_that_no_column_holds_stays_at_the_largest_number_and_keeps_nobody_from_being_counted(
        self, any_world: World, written: Written
    ) -> None:
        there = [await written.conversation(who, REFUND) for who in ("ana", "bo", "cy")]
        for each in there[:2]:
            await written.is_worth(each, 6 * 10**18)
        await catch_up(any_world.services, window)
        assert set(await any_world.services.facts.of(there)) == set(there)
        assert await any_world.db.fetch_all(NOTES, {}) == []
        assert (await summary(any_world.db, everything())).conversations.value_micros == LARGEST

    async def test_late_words_verdicts_and_values_are_counted(
        self, any_world: World, written: Written, clock: FrozenClock
    ) -> None:
        conversation_id = await written.conversation("ana", FAILED)
        turn_id = await written.turn(conversation_id, FAILED)
        clock.advance(25 * HOUR)
        await catch_up(any_world.services, window)
        await written.says(conversation_id, "thumb", 1)
        await written.says(conversation_id, "thumb", -1)
        await written.says(conversation_id, "csat", 2)
        await written.is_worth(conversation_id, 70)
        await written.is_judged(conversation_id, turn_id, True)
        await catch_up(any_world.services, window)
        sums = (await summary(any_world.db, everything())).conversations
        assert (sums.thumbs_up, sums.thumbs_down, sums.csat_sum, sums.csat_count) == (0, 1, 2, 1)
        assert (sums.value_micros, sums.completed, sums.resolved) == (70, 0, 1)

    async def test_a_refused_call_is_counted_by_its_code(self, any_world: World, written: Written) -> None:
        await written.conversation("ana", DENIED)
        await catch_up(any_world.services, window)
        reasons = {
            row["reason"] for row in await any_world.db.fetch_all(Prepared(text("SELECT * FROM reason_rollup")), {})
        }
        assert reasons == {"permission_denied", "injection"}

    async def test_a_store_that_is_down_leaves_the_notes(self, any_world: World, written: Written) -> None:
        await written.conversation("ana", ANSWERED)

        def down(_: list[str]) -> None:
            raise StoreUnavailable("down")

        any_world.db.before_commit = down
        with pytest.raises(StoreUnavailable):
            await count_page(any_world.services, window)
        any_world.db.before_commit = None
        assert await count_page(any_world.services, window) == 1


class TestLead:
    async def test_one_process_counts_and_another_takes_over_when_it_is_gone(
        self, any_world: World, written: Written, clock: FrozenClock
    ) -> None:
        await written.conversation("ana", ANSWERED)
        services = any_world.services
        limits = replace(services.limits, owner="another")
        other = replace(services, limits=limits, facts=FactStore(services.db))
        async with services.db.batch() as batch:
            services.facts.lead(batch, services.limits.owner, seconds=5)
        assert await catch_up(other, window) == 0
        clock.advance(6)
        assert await catch_up(other, window) == 1
        assert await catch_up(services, window) == 0

    async def test_the_lease_is_renewed_in_its_middle_and_not_at_every_look(
        self, any_world: World, clock: FrozenClock
    ) -> None:
        services = any_world.services
        assert await leads(services)
        async with services.db.batch() as batch:
            batch.add(Prepared(delete(fact_folder)), {})
        async with services.db.batch() as batch:
            services.facts.lead(batch, "another", seconds=60)
        clock.advance(2)
        assert await leads(services)
        clock.advance(1)
        assert not await leads(services)


class TestForgetting:
    async def test_an_erased_user_is_in_no_fact_and_stays_in_the_sums(
        self, any_world: World, written: Written, clock: FrozenClock
    ) -> None:
        gone = await written.conversation("ana", REFUND)
        await erase(any_world.services, ADMIN, "ana")
        stored = await fact_of(any_world, gone)
        assert stored.fact.subject is None
        assert "ana" not in str(stored)
        clock.advance(25 * HOUR)
        await catch_up(any_world.services, window)
        sums = await summary(any_world.db, everything())
        assert (sums.turns.turns, sums.conversations.closed, sums.conversations.resolved) == (1, 1, 1)
        assert await any_world.db.fetch_all(NOTES, {}) == []

    async def test_what_was_being_counted_while_it_was_erased_does_not_bring_the_subject_back(
        self, any_world: World, written: Written
    ) -> None:
        gone, services = await written.conversation("ana", ANSWERED), any_world.services
        once: list[str] = []

        async def erased_meanwhile(writes: list[str]) -> None:
            if "insert conversation_fact" in writes and not once:
                once.append(gone)
                async with services.db.batch() as batch:
                    services.facts.forget(batch, "default", gone)

        any_world.db.before_commit = erased_meanwhile
        assert await catch_up(services, window) == 0
        any_world.db.before_commit = None
        assert once == [gone]
        assert await any_world.db.fetch_all(FACTS, {}) == []

    async def test_minutes_are_kept_for_three_days(
        self, any_world: World, written: Written, clock: FrozenClock
    ) -> None:
        await written.conversation("ana", ANSWERED)
        await catch_up(any_world.services, window)
        clock.advance(71 * HOUR)
        await sweep_minutes(any_world.services, None, {})  # pyright: ignore[reportArgumentType]
        assert len(await any_world.db.fetch_all(MINUTES, {})) == 1
        clock.advance(2 * HOUR)
        await sweep_minutes(any_world.services, None, {})  # pyright: ignore[reportArgumentType]
        assert await any_world.db.fetch_all(MINUTES, {}) == []
        assert (await summary(any_world.db, everything())).turns.turns == 1


class TestWindows:
    @pytest.fixture
    async def slow_world(self, sqlite_db: Database, clock: FrozenClock) -> AsyncIterator[World]:
        agent = PROJECT["agent.yaml"] + "success: {resolution_window_hours: 2}\n"
        made = await world_over(sqlite_db, clock, project=PROJECT | {"agent.yaml": agent})
        yield made
        await closed(made)

    async def test_are_what_the_release_says(self, slow_world: World) -> None:
        known = Transcript("conv_1", "default", "ana", "shop", slow_world.release.id, "api", 0)
        assert await Windows(slow_world.services).of(known) == 2 * HOUR * 1_000_000

    async def test_are_a_day_where_no_release_says_anything(self, world: World) -> None:
        windows = Windows(world.services)
        known = Transcript("conv_1", "default", "ana", "shop", world.release.id, "api", 0)
        assert await windows.of(known) == await windows.of(replace(known, release_id="rel_gone"))
        assert await windows.of(known) == DEFAULT_WINDOW_MICROS


async def test_a_server_counts_in_the_background(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollup, "EVERY_SECONDS", 0.01)
    await Written(world.db, world.services.clock).conversation("ana", ANSWERED)
    keeper = rollup.keep(world.services)
    await until(lambda: b"rollup_conversations_total 1.0" in world.services.metrics.render())
    keeper.cancel()
    assert len(await world.db.fetch_all(FACTS, {})) == 1


async def test_sums_that_no_column_holds_stay_at_the_largest_number_on_both_databases(any_world: World) -> None:
    services, key = any_world.services, ("default", "day", 0, "shop", "rel_1", "refund", "api", "simple")
    for cost in (LARGEST - 5, LARGEST - 5):
        async with services.db.batch() as batch:
            services.facts.save(batch, [], {"turn_rollup": {key: {"turns": 1, "cost_micros": cost}}}, at=1)
    other = (*key[:3], "other", *key[4:])
    async with services.db.batch() as batch:
        services.facts.save(batch, [], {"turn_rollup": {other: {"turns": 1, "cost_micros": 7}}}, at=1)

    for agent in ("shop", None):
        spent = await spent_per_day(services.db, "default", since=date(1970, 1, 1), agent=agent)
        assert spent == {date(1970, 1, 1): DaySpent(LARGEST, 0)}
    (row,) = [each for each in await services.db.scan(ROLLED_UP, {}) if each["agent"] == "shop"]
    assert (row["turns"], row["cost_micros"], type(row["cost_micros"])) == (2, LARGEST, int)
