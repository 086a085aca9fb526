"""What calls cost, by the price that holds; what nobody knows stays unknown; budgets are watched and stop nothing."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import insert

from handrail.core.clock import FrozenClock
from handrail.core.errors import UsageError
from handrail.core.models import ModelRefused
from handrail.core.prices import Budget
from handrail.core.principal import Principal, Role
from handrail.core.times import InvalidPeriod
from handrail.core.usage import Usage
from handrail.db import Database, Prepared
from handrail.flows.readiness import readiness
from handrail.flows.spending import budgets_of, learn_prices, show_budgets, usage_of, wanted_of
from handrail.insight.costs import PriceBook
from handrail.insight.scorecard.tables import turn_rollup
from handrail.protection.auth import LOCAL_OPERATOR, PermissionDenied
from handrail.serving.models import Reply
from tests.flows.desk import Desk
from tests.flows.world import AGENT, ANA, PROJECT, World, closed, world_over

PRICED = AGENT.replace("replies:", "price: {input: 3, output: '15'}, replies:")
DAY = 24 * 3600 * 1_000_000
SAID = Reply("Fine.", usage=Usage(1000, 100))


async def world_with(db: Database, clock: FrozenClock, agent: str) -> AsyncIterator[World]:
    made = await world_over(db, clock, project={**PROJECT, "agent.yaml": agent})
    await learn_prices(made.services, made.release)
    yield made
    await closed(made)


@pytest.fixture
async def priced(sqlite_db: Database, clock: FrozenClock, desk: Desk) -> AsyncIterator[World]:
    async for world in world_with(sqlite_db, clock, PRICED):
        yield world


@pytest.fixture
async def any_priced(db: Database, clock: FrozenClock, desk: Desk) -> AsyncIterator[World]:
    async for world in world_with(db, clock, PRICED):
        yield world


async def usage(world: World, by: str = "agent", who: Principal = LOCAL_OPERATOR, **given: str) -> dict[str, Any]:
    return await usage_of(world.services, who, wanted_of({"by": by, **given}, world.services.clock.micros()))


def scripted(world: World, *said: Any) -> None:
    """What the model says, at the price that its tier has."""
    tier = world.release.chain[0]
    world.script(*said)
    world.release.chain = (replace(tier, client=world.release.chain[0].client),)


class TestTheLedger:
    async def test_every_call_costs_what_its_tokens_do(self, any_priced: World) -> None:
        scripted(any_priced, SAID, SAID)
        conversation = await any_priced.open()
        for _ in range(2):
            await any_priced.say(conversation, "hello")
        told = await usage(any_priced, "day,agent,model,release,intent")
        (line,) = told["data"]
        assert (line["calls"], line["cost_micros"], line["unpriced_calls"]) == (2, 2 * 4500, 0)
        assert (line["agent"], line["model"], line["intent"]) == ("shop", "scripted", "chat")
        assert line["release_id"] == any_priced.release.id
        assert told["total"]["input_tokens"] == 2000

    async def test_a_scripted_model_costs_nothing_only_when_somebody_says_so(
        self, sqlite_db: Database, clock: FrozenClock, desk: Desk
    ) -> None:
        for agent, cost in ((AGENT, None), (AGENT.replace("replies:", "price: free, replies:"), 0)):
            async for world in world_with(sqlite_db, clock, agent):
                await world.say(await world.open(), "hello")
                told = await usage(world, "release")
                mine = next(each for each in told["data"] if each["release_id"] == world.release.id)
                assert mine["cost_micros"] == cost
                assert mine["unpriced_calls"] == (1 if cost is None else 0)

    async def test_a_call_that_failed_costs_nobody_knows_what(self, priced: World) -> None:
        scripted(priced, ModelRefused("no"))
        await priced.say(await priced.open(), "hello")
        total = (await usage(priced))["total"]
        assert (total["calls"], total["cost_micros"], total["unpriced_calls"]) == (1, None, 1)

    async def test_metrics_count_cost_and_what_has_none(self, priced: World) -> None:
        scripted(priced, SAID, Reply("Fine.", usage=Usage()))
        conversation = await priced.open()
        for _ in range(2):
            await priced.say(conversation, "hello")
        page = priced.services.metrics.render().decode()
        assert 'agent_cost_micros_total{agent="shop",model="scripted"} 4500.0' in page
        assert 'agent_unpriced_calls_total{agent="shop",model="scripted"} 1.0' in page

    async def test_readiness_names_what_has_no_price(self, world: World, priced: World) -> None:
        await learn_prices(world.services, world.release)
        assert (await readiness(world.services))[1]["prices"] == "unknown: scripted/scripted"
        assert (await readiness(priced.services))[1]["prices"] == "known: 1"

    async def test_settings_say_another_price_than_the_project(self, priced: World) -> None:
        priced.services.prices = PriceBook({"scripted/scripted": "free"})
        await learn_prices(priced.services, priced.release)
        scripted(priced, SAID)
        await priced.say(await priced.open(), "hello")
        assert (await usage(priced))["total"]["cost_micros"] == 0


class TestAsking:
    async def test_is_for_operators_and_admins_of_the_tenant(self, priced: World) -> None:
        for role in (Role.END_USER, Role.VIEWER, Role.REVIEWER, Role.APPROVER):
            with pytest.raises(PermissionDenied):
                await usage(priced, who=Principal("default", "x", frozenset({role})))
        await priced.say(await priced.open(), "hello")
        admin = Principal("evil", "x", frozenset({Role.ADMIN}))
        assert (await usage(priced, who=admin))["data"] == []
        with pytest.raises(PermissionDenied):
            await usage(priced, who=admin, tenant="default")
        assert (await usage(priced, tenant="default"))["total"]["calls"] == 1

    @pytest.mark.parametrize(
        "given",
        [
            {"since": "yesterday"}, {"since": "2026-13-01"}, {"until": "9999-12-31"},
            {"since": "2026-02-01", "until": "2026-01-01"}, {"since": "2025-01-01", "until": "2026-01-01"},
            {"by": "user"},
        ],
    )  # fmt: skip
    async def test_says_what_is_wrong_with_a_question(self, priced: World, given: dict[str, str]) -> None:
        with pytest.raises(UsageError):
            await usage(priced, **({"by": "day"} | given))

    @pytest.mark.parametrize(
        ("given", "said"),
        [
            ({"since": "2026-02-01", "until": "2026-01-15"}, "since 2026-02-01 is after until 2026-01-15"),
            ({"since": "2026-02-01"}, "since 2026-02-01 is after today (2026-01-01, UTC)"),
            ({"since": "2025-08-01", "until": "2026-01-01"}, "2025-08-01 to 2026-01-01 are 154 days; ask for 1 to 92"),
        ],
    )
    async def test_says_which_days_are_wrong(self, priced: World, given: dict[str, str], said: str) -> None:
        with pytest.raises(InvalidPeriod) as caught:
            await usage(priced, **({"by": "day"} | given))
        assert said in caught.value.message

    async def test_the_usual_question_is_about_thirty_days(self, clock: FrozenClock) -> None:
        wanted = wanted_of({}, clock.micros())
        assert (wanted.since, wanted.until) == (date(2025, 12, 3), date(2026, 1, 1))


async def spend(world: World, day: int, micros: int, agent: str = "shop", unpriced: int = 0) -> None:
    """What the folder counts for a day, so many days from today."""
    row = {column.name: 0 for column in turn_rollup.columns} | {
        "tenant_id": "default",
        "grain": "day",
        "starts_at": (world.services.clock.micros() // DAY + day) * DAY,
        "agent": agent,
        "release_id": "rel_1",
        "intent": "",
        "channel": "api",
        "latency_class": "simple",
        "latencies": "{}",
        "cost_micros": micros,
        "unpriced_calls": unpriced,
    }
    async with world.services.db.batch() as batch:
        batch.add(Prepared(insert(turn_rollup)), row)


class TestBudgets:
    async def test_show_what_is_spent_and_what_it_comes_to(self, any_world: World) -> None:
        world = any_world
        world.services.budgets = (
            Budget(name="all", usd=Decimal(100), period="day"),
            Budget(name="shop", usd=Decimal(10), period="day", agent="shop"),
            Budget(name="theirs", usd=Decimal(1), tenant="evil"),
        )
        for day in range(-20, 1):
            await spend(world, day, 5_000_000)
        await spend(world, 0, 1_000_000, agent="desk", unpriced=3)
        whole, shop = await budgets_of(world.services, LOCAL_OPERATOR)
        assert (whole.spent_micros, whole.unpriced_calls, shop.spent_micros, shop.unpriced_calls) == (
            6_000_000, 3, 5_000_000, 0,
        )  # fmt: skip
        assert shop.used == 0.5
        assert shop.forecast is not None
        assert "by weekday" in shop.forecast.basis

    async def test_a_budget_that_is_overspent_stops_nothing_and_stands_in_the_metrics(self, world: World) -> None:
        world.services.budgets = (Budget(name="small", usd=Decimal("0.01")),)
        await spend(world, 0, 30_000)
        await show_budgets(world.services)
        assert 'budget_used_ratio{budget="small"} 3.0' in world.services.metrics.render().decode()
        assert (await world.say(await world.open(), "hello"))["status"] == "completed"

    async def test_are_for_operators(self, world: World) -> None:
        with pytest.raises(PermissionDenied):
            await budgets_of(world.services, ANA)
