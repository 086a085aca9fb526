"""What is stored of alerts, on both databases: one lease, changes that never overwrite one another, one notice."""

import asyncio
from collections import Counter
from dataclasses import replace

import pytest

from handrail.core.clock import FrozenClock
from handrail.db import Conflict, Database
from handrail.insight.alerts import (
    AlertLease,
    AlertState,
    AlertStore,
    Change,
    Finding,
    Notice,
    Rules,
    RuleState,
    Silence,
    look,
)
from handrail.insight.alerts.lifecycle import FLAP_SECONDS
from handrail.insight.alerts.store import MOST_OF_A_CHANNEL


@pytest.fixture
def store(db: Database) -> AlertStore:
    return AlertStore(db)


def change(clock: FrozenClock, name: str = "x", tenant_id: str = "*") -> Change:
    finding = Finding("dependency_down", tenant_id, {"name": name}, "bad", "down", {"calls": 3.0})
    return look([], [finding], Rules(), clock.micros())[0]


async def applied(db: Database, store: AlertStore, *changes: Change) -> None:
    async with db.batch() as batch:
        for each in changes:
            store.apply(batch, each)


async def fenced(db: Database, store: AlertStore, lease: AlertLease, each: Change) -> None:
    async with db.batch() as batch:
        store.fence(batch, lease)
        store.apply(batch, each)


class TestLease:
    async def test_one_of_many_holds_it(self, store: AlertStore) -> None:
        held = [await store.hold(f"p{number}", seconds=60) for number in range(3)]
        assert held == [AlertLease("p0", 1), None, None]
        assert await store.hold("p0", seconds=60) == AlertLease("p0", 1)

    async def test_of_many_at_once_one_holds_it(self, store: AlertStore) -> None:
        held = await asyncio.gather(*(store.hold(f"p{number}", seconds=60) for number in range(6)))
        assert len([each for each in held if each is not None]) == 1

    async def test_another_takes_it_when_it_ran_out_and_the_former_owner_is_fenced_off(
        self, db: Database, store: AlertStore, clock: FrozenClock
    ) -> None:
        old = await store.hold("p0", seconds=60)
        assert old is not None
        clock.advance(61)
        new = await store.hold("p1", seconds=60)
        assert new == AlertLease("p1", 2)
        with pytest.raises(Conflict):
            await fenced(db, store, old, change(clock))
        assert await store.known() == []
        await fenced(db, store, AlertLease("p1", 2), change(clock))

    async def test_one_who_leaves_lets_go(self, store: AlertStore) -> None:
        await store.hold("p0", seconds=60)
        await store.let_go("p0")
        assert await store.hold("p1", seconds=60) == AlertLease("p1", 2)


class TestAlerts:
    async def test_an_alert_comes_back_as_it_was_stored(
        self, db: Database, store: AlertStore, clock: FrozenClock
    ) -> None:
        made = change(clock)
        await applied(db, store, made)
        assert await store.known() == [made.after]
        assert made.after is not None
        assert await store.find(made.after.id) == made.after

    async def test_two_changes_of_the_same_never_overwrite_one_another(
        self, db: Database, store: AlertStore, clock: FrozenClock
    ) -> None:
        await applied(db, store, change(clock))
        (known,) = await store.known()
        await applied(db, store, Change(known, replace(known, note="first")))
        with pytest.raises(Conflict):
            await applied(db, store, Change(known, replace(known, note="second")))
        assert [each.note for each in await store.known()] == ["first"]

    async def test_one_thing_can_have_one_open_alert_only(
        self, db: Database, store: AlertStore, clock: FrozenClock
    ) -> None:
        await applied(db, store, change(clock))
        with pytest.raises(Conflict):
            await applied(db, store, change(clock))

    async def test_what_was_pending_and_is_nothing_is_gone(
        self, db: Database, store: AlertStore, clock: FrozenClock
    ) -> None:
        await applied(db, store, change(clock))
        (known,) = await store.known()
        await applied(db, store, Change(known, None))
        assert await store.known() == []

    async def test_what_is_resolved_is_known_as_long_as_it_may_come_back(
        self, db: Database, store: AlertStore, clock: FrozenClock
    ) -> None:
        await applied(db, store, change(clock))
        (known,) = await store.known()
        over = replace(known, state=AlertState.RESOLVED, fired_at=1, resolved_at=clock.micros())
        await applied(db, store, Change(known, over))
        assert [each.id for each in await store.known()] == [known.id]
        clock.advance(FLAP_SECONDS)
        assert await store.known() == []
        assert [each.id for each in await store.list("acme", state="resolved")] == [known.id]

    async def test_a_tenant_sees_its_own_and_those_of_the_deployment(
        self, db: Database, store: AlertStore, clock: FrozenClock
    ) -> None:
        await applied(db, store, *(change(clock, name, name) for name in ("acme", "other", "*")))
        assert {each.tenant_id for each in await store.list("acme")} == {"acme", "*"}
        assert {each.tenant_id for each in await store.list(None)} == {"acme", "other", "*"}
        assert await store.list(None, rule="error_rate") == []


class TestNotices:
    NOTICE = Notice("ntc_1", "*", "ops", "firing", "critical", ("alrt_1",), "title", "body")

    async def test_the_same_one_twice_is_one(self, db: Database, store: AlertStore) -> None:
        for _ in range(2):
            async with db.batch() as batch:
                store.add_notice(batch, self.NOTICE)
        (due,) = await store.due()
        assert (due.notice.id, due.status, due.notice.alert_ids) == ("ntc_1", "waiting", ("alrt_1",))
        assert [each.notice.id for each in await store.told_of("alrt_1")] == ["ntc_1"]

    async def test_a_channel_with_a_long_line_keeps_no_other_waiting(self, db: Database, store: AlertStore) -> None:
        async with db.batch() as batch:
            for number in range(300):
                store.add_notice(batch, replace(self.NOTICE, id=f"ntc_{number:03}", channel="dead"))
        async with db.batch() as batch:
            store.add_notice(batch, replace(self.NOTICE, id="ntc_z", channel="pager"))
        due = await store.due()
        assert Counter(each.notice.channel for each in due) == {"dead": MOST_OF_A_CHANNEL, "pager": 1}

    async def test_one_that_failed_waits_and_one_that_was_sent_is_done(
        self, db: Database, store: AlertStore, clock: FrozenClock
    ) -> None:
        async with db.batch() as batch:
            store.add_notice(batch, self.NOTICE)
        async with db.batch() as batch:
            store.failed(batch, "ntc_1", error="timed out", wait_seconds=30)
        assert await store.due() == []
        assert [(each.notice.channel, each.attempts, each.error) for each in await store.failing()] == [
            ("ops", 1, "timed out")
        ]
        clock.advance(30)
        assert len(await store.due()) == 1
        async with db.batch() as batch:
            store.sent(batch, "ntc_1")
        assert (await store.due(), await store.failing()) == ([], [])
        (told,) = await store.newest_notices("acme", limit=5)
        assert (told.status, told.attempts, told.error) == ("sent", 2, None)


async def ended_by(db: Database, store: AlertStore, who: str) -> None:
    async with db.batch() as batch:
        store.end_silence(batch, "slc_1", by=who)


async def test_a_silence_holds_until_it_is_ended_or_over(db: Database, store: AlertStore, clock: FrozenClock) -> None:
    at = clock.micros()
    made = Silence("slc_1", "acme", {"rule": "error_rate"}, at, at + 60_000_000, "deploy", "ana", at)
    async with db.batch() as batch:
        store.add_silence(batch, made)
    assert await store.silences() == [made]
    clock.advance(61)
    assert await store.silences() == []
    await ended_by(db, store, "bob")
    with pytest.raises(Conflict):
        await ended_by(db, store, "eve")
    ended = await store.find_silence("slc_1")
    assert ended is not None
    assert ended.ended_by == "bob"


async def test_reports_of_processes_that_are_gone_count_no_more(store: AlertStore, clock: FrozenClock) -> None:
    await store.report("p0", {"down": ["x"]})
    await store.report("p1", {"down": []})
    await store.report("p0", {"down": ["y"]})
    assert sorted(str(each) for each in await store.reports(within_seconds=60)) == ["{'down': ['y']}", "{'down': []}"]
    clock.advance(61)
    assert await store.reports(within_seconds=60) == []


async def test_what_a_rule_says_is_kept_for_who_asks(db: Database, store: AlertStore) -> None:
    for is_new, said in ((True, "not enough history: 1 of 7 days"), (False, "not enough history: 2 of 7 days")):
        async with db.batch() as batch:
            store.say(batch, RuleState("acme", "traffic_drop", "quiet", said), is_new=is_new)
    (state,) = await store.rule_states("acme")
    assert (state.state, state.said) == ("quiet", "not enough history: 2 of 7 days")


async def test_what_is_long_over_is_forgotten(db: Database, store: AlertStore, clock: FrozenClock) -> None:
    await applied(db, store, change(clock), change(clock, "y"))
    one, two = await store.known()
    over = replace(one, state=AlertState.RESOLVED, fired_at=1, resolved_at=clock.micros())
    await applied(db, store, Change(one, over))
    async with db.batch() as batch:
        store.add_notice(batch, TestNotices.NOTICE)
    clock.advance(91 * 86_400)
    async with db.batch() as batch:
        store.forget(batch, days=90)
    assert [each.id for each in await store.list(None)] == [two.id]
    assert len(await store.due()) == 1
