"""What calls came to, from the sums, against the ledger itself counted call by call."""

from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from sqlalchemy import select

from handrail.core.clock import FrozenClock
from handrail.core.usage import BROKEN_OFF, LOST
from handrail.db import Database, Prepared
from handrail.insight.costs.tables import model_usage
from handrail.reports.filters import Filters
from handrail.reports.ledger import Calls, ledger, spent
from tests.flows.world import World, closed, world_over
from tests.reports.counted import count
from tests.written import ANSWERED, CLARIFIED, FAILED, REFUND, STOPPED, Written

HOUR, MICROS = 3600, 1_000_000
_ALL = Prepared(select(model_usage))
TALES = (
    replace(ANSWERED, costs=(100, None)),
    replace(REFUND, costs=(20_000,), model="vendor/large"),
    CLARIFIED,
    FAILED,
    replace(STOPPED, costs=(None,), finish_reason=BROKEN_OFF),
    replace(ANSWERED, costs=(None, 40), finish_reason=LOST, model="vendor/large"),
)


@pytest.fixture
async def filled(db: Database, clock: FrozenClock) -> AsyncIterator[World]:
    """Three days of two agents, and another tenant's."""
    world = await world_over(db, clock)
    numbers = Written(db, clock)._numbers
    for number in range(18):
        agent = "shop" if number % 3 else "bank"
        written = Written(db, clock, agent=agent, release_id=f"rel_{agent}", _numbers=numbers)
        channel = "api" if number % 2 else "chat"
        await written.conversation(f"user-{number}", TALES[number % len(TALES)], channel=channel)
        clock.advance(4 * HOUR)
    await Written(db, clock, tenant_id="other", _numbers=numbers).conversation("ana", ANSWERED)
    await count(world)
    yield world
    await closed(world)


async def by_hand(world: World, **wanted: str) -> Counter[str]:
    rows = [row for row in await world.db.fetch_all(_ALL, {}) if row["tenant_id"] == "default"]
    sums: Counter[str] = Counter()
    for row in rows:
        if all(row[name] == value for name, value in wanted.items()):
            sums["calls"] += 1
            sums["cost_micros"] += row["cost_micros"] or 0
            sums["input_tokens"] += row["input_tokens"] or 0
            sums["unpriced"] += row["cost_micros"] is None
    return sums


def said(calls: Calls) -> Counter[str]:
    return Counter(
        calls=calls.calls,
        cost_micros=calls.cost_micros,
        input_tokens=calls.input_tokens,
        unpriced=calls.unpriced_calls,
    )


def filters(world: World, **more: str) -> Filters:
    now = world.services.clock.micros()
    return Filters("default", now - 80 * HOUR * MICROS, now + HOUR * MICROS, **more)


async def test_every_side_comes_to_what_the_ledger_says(filled: World) -> None:
    for bucket in ("hour", "day"):
        found = await ledger(filled.db, filters(filled), bucket)
        assert said(found.total) == await by_hand(filled)
        assert said(await spent(filled.db, filters(filled))) == said(found.total)
        for name, side in (("agent", found.agents), ("release_id", found.releases), ("intent", found.intents)):
            for line in side:
                assert said(line.calls) == await by_hand(filled, **{name: line.names[0]}), (name, line.names)
        for line in found.models:
            assert said(line.calls) == await by_hand(filled, provider=line.names[0], model=line.names[1])
        for side in (found.agents, found.releases, found.intents, found.models):
            assert sum((said(line.calls) for line in side), Counter()) == said(found.total)
            costs = [line.calls.cost_micros for line in side]
            assert costs == sorted(costs, reverse=True)
        assert sum((said(calls) for _, calls in found.series), Counter()) == said(found.total)


async def test_what_has_no_known_cost_is_told_by_why(filled: World) -> None:
    found = await ledger(filled.db, filters(filled))
    assert found.total.unpriced == {"no_price": 6, "broken_off": 3, "lost": 3}
    by_model = {line.names[1]: line.calls.unpriced for line in found.models}
    assert by_model == {"m": {"no_price": 6, "broken_off": 3}, "vendor/large": {"lost": 3}}
    assert Calls(calls=2).unpriced == {}


async def test_is_narrowed_down_as_the_dashboard_is(filled: World) -> None:
    found = await ledger(filled.db, filters(filled, agent="bank"))
    assert said(found.total) == await by_hand(filled, agent="bank")
    assert [line.names for line in found.releases] == [("rel_bank", "bank")]
    found = await ledger(filled.db, filters(filled, intent="refund"))
    assert said(found.total) == await by_hand(filled, intent="refund")
    chat = await ledger(filled.db, filters(filled, channel="chat"))
    api = await ledger(filled.db, filters(filled, channel="api"))
    assert said(chat.total) + said(api.total) == await by_hand(filled)
    assert (await ledger(filled.db, filters(filled, agent="none"))).models == []


async def test_a_price_that_comes_late_moves_the_sums(filled: World, clock: FrozenClock) -> None:
    before = await by_hand(filled)
    numbers = Written(filled.db, clock)
    ids = [row["conversation_id"] for row in await filled.db.fetch_all(_ALL, {}) if row["cost_micros"] is None]
    for key in dict.fromkeys(ids):
        await numbers.priced(key, 7)
    await count(filled)
    found = (await ledger(filled.db, filters(filled))).total
    assert said(found) == await by_hand(filled)
    assert (found.cost_micros, found.unpriced) == (before["cost_micros"] + 7 * before["unpriced"], {})
