"""What the rollups are read as, against the same counted by hand."""

from collections import Counter
from collections.abc import AsyncIterator
from itertools import pairwise

import pytest

from handrail.core.clock import FrozenClock
from handrail.db import Database
from handrail.insight.scorecard.histogram import RELATIVE_ERROR
from handrail.reports.filters import Filters
from handrail.reports.series import names, overview, reasons, summary
from tests.flows.world import World, closed, world_over
from tests.reports.counted import count
from tests.written import ANSWERED, CLARIFIED, DENIED, FAILED, HANDED_OFF, REFUND, Written

HOUR = 3600
MICROS = 1_000_000


@pytest.fixture
async def world(db: Database, clock: FrozenClock) -> AsyncIterator[World]:
    made = await world_over(db, clock)
    yield made
    await closed(made)


@pytest.fixture
async def filled(world: World, clock: FrozenClock) -> World:
    """Ten conversations, one every seven hours, and another tenant's."""
    written = Written(world.db, clock)
    turns = [ANSWERED, REFUND, CLARIFIED, FAILED, HANDED_OFF, DENIED, REFUND, ANSWERED, ANSWERED, REFUND]
    for number, told in enumerate(turns):
        await written.conversation(f"user-{number % 3}", told, channel="api" if number % 2 else "openai")
        clock.advance(7 * HOUR)
    other = Written(world.db, clock, tenant_id="other", _numbers=written._numbers)
    await other.conversation("ana", FAILED)
    await count(world)
    return world


def last(clock: FrozenClock, hours: float, **more: str) -> Filters:
    """The hours until now."""
    now = clock.micros()
    return Filters("default", now - int(hours * HOUR * MICROS), now, **more)


class TestSummary:
    async def test_sums_up_the_time_that_was_asked_for(self, filled: World, clock: FrozenClock) -> None:
        found = await summary(filled.db, last(clock, 24 * 30))
        assert (found.turns.turns, found.turns.failed, found.turns.handed_off, found.turns.clarified) == (10, 1, 1, 1)
        assert (found.turns.tool_calls, found.turns.tool_failures) == (7, 3)
        assert (found.turns.cost_micros, found.turns.unpriced_calls) == (800, 1)
        conversations = found.conversations
        assert (conversations.conversations, conversations.pending) == (10, 3)
        assert (conversations.completed, conversations.recontacted, conversations.resolved) == (4, 3, 1)

    async def test_is_of_nobody_elses_tenant(self, filled: World, clock: FrozenClock) -> None:
        now = clock.micros()
        other = await summary(filled.db, Filters("other", 0, now + HOUR * MICROS))
        assert (other.turns.turns, other.turns.failed) == (1, 1)

    @pytest.mark.parametrize("hours", [8, 25, 49.5, 70])
    async def test_of_days_and_hours_is_that_of_hours_alone(
        self, filled: World, clock: FrozenClock, hours: float
    ) -> None:
        filters = last(clock, hours)
        whole, points = await summary(filled.db, filters), (await overview(filled.db, filters, "hour")).series
        assert whole.turns.turns == sum(each.turns.turns for each in points) > 0
        assert whole.turns.histogram() == sum((Counter(each.turns.histogram()) for each in points), Counter())
        assert whole.conversations.conversations == sum(each.conversations.conversations for each in points)

    async def test_filters_by_what_it_was_about(self, filled: World, clock: FrozenClock) -> None:
        refunds = await summary(filled.db, last(clock, 24 * 30, intent="refund"))
        assert (refunds.turns.turns, refunds.conversations.conversations) == (3, 3)
        by_api = await summary(filled.db, last(clock, 24 * 30, intent="refund", channel="api"))
        assert by_api.turns.turns == 2
        assert (await summary(filled.db, last(clock, 24 * 30, agent="another"))).turns.turns == 0

    async def test_tells_latencies_within_the_stated_error(self, filled: World, clock: FrozenClock) -> None:
        turns = (await summary(filled.db, last(clock, 24 * 30))).turns
        median, slowest = turns.latency_micros(0.5), turns.latency_micros(0.99, "simple")
        assert median == pytest.approx(1 * MICROS, rel=RELATIVE_ERROR)
        assert slowest == pytest.approx(3 * MICROS, rel=RELATIVE_ERROR)
        assert turns.latency_micros(0.5, "complex") is None

    async def test_of_no_time_is_nothing(self, world: World, clock: FrozenClock) -> None:
        assert (await summary(world.db, last(clock, 0))).turns.turns == 0
        assert (await overview(world.db, Filters("default", 0, 0))).series == []


class TestSeries:
    async def test_has_every_hour_and_day_also_those_in_which_nothing_happened(
        self, filled: World, clock: FrozenClock
    ) -> None:
        days = (await overview(filled.db, last(clock, 24 * 5))).series
        assert len(days) in (5, 6)
        assert {after.starts_at - before.starts_at for before, after in pairwise(days)} == {24 * HOUR * MICROS}
        assert sum(each.turns.turns for each in days) == 10
        hours = (await overview(filled.db, last(clock, 24), "hour")).series
        assert len(hours) in (24, 25)
        assert sum(each.turns.turns for each in hours) == 3


class TestGroups:
    async def test_by_intent_come_with_the_most_frequent_first(self, filled: World, clock: FrozenClock) -> None:
        found = (await overview(filled.db, last(clock, 24 * 30))).intents
        assert [(each.name, each.turns.turns, each.conversations.conversations) for each in found] == [
            ("order_status", 5, 5),
            ("refund", 3, 3),
            ("", 2, 2),
        ]

    async def test_by_release_have_all_that_the_time_has(self, filled: World, clock: FrozenClock) -> None:
        found = await overview(filled.db, last(clock, 24 * 30))
        (only,) = found.releases
        assert (only.turns, only.conversations) == (found.summary.turns, found.summary.conversations)


class TestNames:
    async def test_are_those_of_the_tenants_conversations(self, filled: World, clock: FrozenClock) -> None:
        found = await names(filled.db, last(clock, 24 * 30))
        assert found == {
            "agent": ["shop"], "release_id": ["rel_test"], "intent": ["order_status", "refund"],
            "channel": ["api", "openai"],
        }  # fmt: skip


class TestReasons:
    async def test_are_told_by_kind(self, filled: World, clock: FrozenClock) -> None:
        filters = last(clock, 24 * 30)
        told = {
            kind: {each.reason: each.count for each in found}
            for kind, found in (await reasons(filled.db, filters)).items()
        }
        assert told == {
            "error": {"model_unavailable": 1},
            "escalation": {"not_understood": 1},
            "guardrail": {"injection": 1},
            "fallback": {"model.honest": 1},
            "denied": {"permission_denied": 1},
        }
