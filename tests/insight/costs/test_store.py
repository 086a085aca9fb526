from dataclasses import replace
from datetime import date

import pytest

from handrail.core.clock import FrozenClock
from handrail.core.usage import Usage
from handrail.db import Database
from handrail.insight.costs import DailyUsage, ModelUsage, UsageStore
from handrail.insight.costs.store import DAY_MICROS

CALL = ModelUsage(
    tenant_id="acme",
    turn_id="turn_1",
    conversation_id="conv_1",
    agent="shop",
    release_id="rel_1",
    intent="refund",
    provider="openai",
    model="m-1",
    usage=Usage(100, 20, None),
    milliseconds=300,
    finish_reason="stop",
    created_at=FrozenClock().micros(),
)
NEW_YEAR = date(2026, 1, 1)
EVER = {"since": 0, "until": 2**60}


@pytest.fixture
def store(db: Database) -> UsageStore:
    return UsageStore(db)


async def _record(db: Database, store: UsageStore, *rows: ModelUsage) -> None:
    async with db.batch() as batch:
        store.record(batch, rows)


class TestPerDay:
    async def test_sums_calls_and_tokens_of_agent_and_model(self, db: Database, store: UsageStore) -> None:
        await _record(db, store, CALL, replace(CALL, usage=Usage(1, 2, 3)), replace(CALL, model="m-2"))

        days = await store.per_day("acme", **EVER)

        assert list(days) == [
            DailyUsage(NEW_YEAR, "shop", "m-1", 2, Usage(101, 22, 3), None, 2),
            DailyUsage(NEW_YEAR, "shop", "m-2", 1, Usage(100, 20, None), None, 1),
        ]

    async def test_what_no_provider_told_is_unknown_and_not_zero(self, db: Database, store: UsageStore) -> None:
        await _record(db, store, replace(CALL, usage=Usage()))

        (day,) = await store.per_day("acme", **EVER)

        assert day.usage == Usage(None, None, None)
        assert day.cost_micros is None

    async def test_says_how_many_calls_the_cost_leaves_out(self, db: Database, store: UsageStore) -> None:
        await _record(db, store, replace(CALL, cost_micros=1500), replace(CALL, cost_micros=0), CALL)

        (day,) = await store.per_day("acme", **EVER)

        assert (day.cost_micros, day.unpriced_calls) == (1500, 1)

    async def test_cuts_days_at_midnight_utc(self, db: Database, store: UsageStore) -> None:
        last = CALL.created_at + DAY_MICROS - 1
        await _record(db, store, CALL, replace(CALL, created_at=last), replace(CALL, created_at=last + 1))

        days = await store.per_day("acme", **EVER)

        assert [(day.day, day.calls) for day in days] == [(NEW_YEAR, 2), (date(2026, 1, 2), 1)]

    async def test_keeps_to_its_tenant_and_its_time(self, db: Database, store: UsageStore) -> None:
        await _record(db, store, CALL, replace(CALL, tenant_id="other"))
        at = CALL.created_at

        assert len(await store.per_day("acme", since=at, until=at + 1)) == 1
        assert [day.calls for day in await store.per_day("other", **EVER)] == [1]
        assert list(await store.per_day("acme", since=at + 1, until=at + 2)) == []
        assert list(await store.per_day("acme", since=at - 1, until=at)) == []


class TestRecord:
    async def test_takes_sums_beyond_32_bits(self, db: Database, store: UsageStore) -> None:
        await _record(db, store, *(replace(CALL, usage=Usage(2**31 - 1, 1, 1), cost_micros=2**40) for _ in range(4)))

        (day,) = await store.per_day("acme", **EVER)

        assert day.usage.input_tokens == 4 * (2**31 - 1)
        assert day.cost_micros == 2**42
