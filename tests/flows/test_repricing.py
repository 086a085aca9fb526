"""Calls get their cost when the price comes later: once, exactly, and every sum that rests on them follows."""

import json
import random
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import bindparam, insert, select, update

from handrail.cli.costs import unpriced_lines
from handrail.core.clock import FrozenClock
from handrail.core.prices import DeclaredRates
from handrail.core.usage import Usage
from handrail.db import Database, Prepared, StoreUnavailable
from handrail.flows.repricing import ANYWAY_SECONDS, Repricer
from handrail.flows.spending import usage_of, wanted_of
from handrail.insight.costs import PriceBook, PricedModel
from handrail.insight.costs.tables import model_usage
from handrail.insight.scorecard.tables import fact_change
from handrail.protection.audit import AuditQuery
from handrail.protection.auth import LOCAL_OPERATOR
from handrail.reports.filters import Filters
from handrail.reports.series import summary
from handrail.reports.transcripts import transcripts
from handrail.serving.conversations.tables import conversation
from handrail.serving.models import Reply
from tests.flows.desk import Desk
from tests.flows.test_rollup_properties import DyingDatabase, from_scratch, stored_sums, without_nothing
from tests.flows.world import AGENT, PROJECT, World, closed, world_over
from tests.reports.counted import count
from tests.written import ANSWERED, Written

HOUR = 3600
URLS = """
  fast: {provider: openai_compatible, base_url: 'https://one.example/v1', model: fast-1}
  deep: {provider: openai_compatible, base_url: 'https://two.example/v1', model: deep-1}
"""
TWO_MODELS = AGENT.replace("models:\n", f"models:{URLS}", 1)
CHANGE = Prepared(
    update(model_usage)
    .where(model_usage.c.id == bindparam("id_"))
    .values(provider="scripted", model="scripted", input_tokens=bindparam("given"), output_tokens=bindparam("made"))
)
IDS = Prepared(select(conversation.c.id))
ROWS, NOTES, ADD = Prepared(select(model_usage)), Prepared(select(fact_change)), Prepared(insert(model_usage))


def dollars(given: float, made: float) -> DeclaredRates:
    return DeclaredRates(input=Decimal(str(given)), output=Decimal(str(made)))


@pytest.fixture
async def world(db: Database, clock: FrozenClock, desk: Desk) -> AsyncIterator[World]:
    made = await world_over(db, clock, project={**PROJECT, "agent.yaml": TWO_MODELS})
    yield made
    await closed(made)


async def said(world: World, *texts: str, usage: Usage = Usage(1000, 100)) -> list[str]:
    """Turns of a conversation whose model nobody knows a price of; older than what is left alone."""
    conversation = await world.open()
    world.script(*(Reply(text, usage=usage) for text in texts))
    turns = [(await world.say(conversation, "hello"))["id"] for _ in texts]
    world.services.clock.advance(HOUR)  # pyright: ignore[reportAttributeAccessIssue]
    await count(world)
    return turns


def priced(world: World, **prices: Any) -> Repricer:
    """Another process, which knows these prices."""
    world.services.prices = PriceBook({name.replace("_", "-"): price for name, price in prices.items()})
    return Repricer(world.services)


async def costs(world: World) -> list[int | None]:
    return [row["cost_micros"] for row in await world.db.scan(ROWS, {})]


async def sums(world: World) -> Any:
    return (await summary(world.db, Filters("default", 0, 1 << 52))).turns


class TestReprice:
    async def test_gives_calls_their_cost_and_the_turn_and_the_sums_follow(self, world: World) -> None:
        turns = await said(world, "one", "two")
        assert ((await sums(world)).cost_micros, (await sums(world)).unpriced_calls) == (0, 2)
        assert await priced(world, scripted=dollars(3, 15)).look() == 2
        await count(world)
        assert ((await sums(world)).cost_micros, (await sums(world)).unpriced_calls) == (9000, 0)
        assert [(await world.stored(each)).cost_micros for each in turns] == [4500, 4500]
        told = await usage_of(world.services, LOCAL_OPERATOR, wanted_of({}, world.services.clock.micros()))
        assert (told["total"]["cost_micros"], told["total"]["unpriced_calls"], told["unpriced"]) == (9000, 0, [])
        assert (
            'agent_cost_micros_total{agent="shop",model="scripted"} 9000.0' in world.services.metrics.render().decode()
        )

    async def test_is_recorded_in_the_audit_log(self, world: World) -> None:
        await said(world, "one", "two")
        await priced(world, scripted=dollars(3, 15)).look()
        query = AuditQuery("default", action="usage.repriced")
        (entry,) = await world.services.audit.store.search(query)
        assert (entry.actor, entry.target) == ("system", "model:scripted/scripted")
        assert json.loads(entry.body)["details"] == {"calls": 2, "cost_micros": 9000}

    async def test_never_changes_a_cost_that_stands_there(self, world: World) -> None:
        await said(world, "one")
        await priced(world, scripted=dollars(3, 15)).look()
        assert await priced(world, scripted=dollars(300, 15)).look() == 0
        assert await costs(world) == [4500]

    async def test_of_a_free_model_it_is_0_and_without_a_word_it_stays_unknown(self, world: World) -> None:
        turns = await said(world, "one", usage=Usage())
        assert await priced(world).look() == 0
        assert await priced(world, scripted=dollars(3, 15)).look() == 0, "nobody told its tokens"
        assert await priced(world, scripted="free").look() == 1
        assert (await costs(world), (await world.stored(turns[0])).cost_micros) == ([0], 0)

    async def test_a_turn_of_which_one_call_stays_unknown_has_no_cost(self, world: World) -> None:
        (turn,) = await said(world, "one")
        row = dict((await world.db.scan(ROWS, {}))[0])
        async with world.db.batch() as batch:
            batch.add(ADD, {**row, "id": "use_lost", "input_tokens": None, "output_tokens": None})
        await priced(world, scripted=dollars(3, 15)).look()
        assert sorted(await costs(world), key=str) == [4500, None]
        assert (await world.stored(turn)).cost_micros is None

    async def test_leaves_alone_what_may_still_be_going_on(self, world: World) -> None:
        await said(world, "one")
        world.script(Reply("now", usage=Usage(1000, 100)))
        await world.say(await world.open(), "hello")
        assert await priced(world, scripted=dollars(3, 15)).look() == 1

    async def test_looks_again_only_when_a_price_has_come_or_an_hour_later(
        self, world: World, clock: FrozenClock
    ) -> None:
        await said(world, "one")
        repricer = priced(world)
        assert await repricer.look() == 0
        await world.services.prices.learn([PricedModel("", "scripted", "other", dollars(1, 1))])
        assert await repricer.look() == 0
        await world.services.prices.learn([PricedModel("", "scripted", "scripted", dollars(3, 15))])
        assert await repricer.look() == 1
        row = dict((await world.db.scan(ROWS, {}))[0])
        async with world.db.batch() as batch:
            batch.add(ADD, {**row, "id": "use_of_another_process", "cost_micros": None})
        assert await repricer.look() == 0
        clock.advance(ANYWAY_SECONDS)
        assert await repricer.look() == 1

    async def test_does_nothing_while_another_process_leads(self, world: World, clock: FrozenClock) -> None:
        await said(world, "one")
        clock.advance(60)
        async with world.db.batch() as batch:
            world.services.facts.lead(batch, "somebody else", seconds=1000)
        repricer = priced(world, scripted=dollars(3, 15))
        assert await repricer.look() == 0
        assert await costs(world) == [None]

    async def test_of_a_name_that_two_addresses_answered_under_it_needs_one_cost(self, world: World) -> None:
        await said(world, "one")
        row = dict((await world.db.scan(ROWS, {}))[0])
        calls = {"use_a": "fast-1", "use_b": "answered-as-2", "use_c": "deep-1"}
        async with world.db.batch() as batch:
            for key, model in calls.items():
                batch.add(ADD, {**row, "id": key, "provider": "openai_compatible", "model": model})
        await priced(world, fast_1=dollars(1, 0), deep_1=dollars(2, 0)).look()
        found = {row["id"]: row["cost_micros"] for row in await world.db.scan(ROWS, {})}
        assert {key: found[key] for key in calls} == {"use_a": 1000, "use_b": None, "use_c": 2000}
        await priced(world, fast_1=dollars(1, 0), deep_1=dollars(1, 0)).look()
        found = {row["id"]: row["cost_micros"] for row in await world.db.scan(ROWS, {})}
        assert found["use_b"] == 1000

    async def test_of_a_release_that_is_gone_nothing_is_known(self, world: World) -> None:
        await said(world, "one")
        row = dict((await world.db.scan(ROWS, {}))[0])
        async with world.db.batch() as batch:
            batch.add(ADD, {**row, "id": "use_gone", "release_id": "rel_gone"})
        assert await priced(world, scripted=dollars(3, 15)).look() == 1


class TestUnpriced:
    async def test_says_what_has_no_cost_and_why(self, world: World) -> None:
        await said(world, "one", "two")
        await said(world, "three", usage=Usage())
        told = await usage_of(world.services, LOCAL_OPERATOR, wanted_of({}, world.services.clock.micros()))
        first, second = told["unpriced"]
        assert (first["provider"], first["model"], first["reason"], first["calls"]) == (
            "scripted", "scripted", "no_price", 2,
        )  # fmt: skip
        assert (first["input_tokens"], first["release_id"]) == (2000, world.release.id)
        assert (second["reason"], second["calls"], second["input_tokens"]) == ("no_tokens", 1, None)
        line, other = unpriced_lines(told)
        assert f"scripted/scripted of {world.release.id}: 2 calls" in line
        assert line.endswith("2,000 tokens in and 200 out: no price is known; set HANDRAIL_COSTS__PRICES")
        assert other.endswith("the provider told no tokens, or there was no answer")
        assert unpriced_lines({"unpriced": []}) == ["every call has a cost"]


@pytest.mark.parametrize("seed", range(4))
async def test_whoever_dies_meanwhile_the_sums_are_those_of_a_count_from_scratch(
    sqlite_db: Database, clock: FrozenClock, desk: Desk, seed: int
) -> None:
    rng, dying = random.Random(seed), DyingDatabase(sqlite_db)
    world = await world_over(dying, clock)
    written = Written(sqlite_db, clock, release_id=world.release.id)
    truth = await _some_calls(world, written, rng)
    await count(world)
    clock.advance(HOUR)
    given, made = rng.randint(1, 9), rng.randint(1, 9)
    repricer = priced(world, scripted=dollars(given, made))
    for _ in range(20):
        dying.dies = rng.choice([None, "before", "after"])
        try:
            await repricer.look()
            break
        except StoreUnavailable:
            repricer = Repricer(world.services)
    dying.dies = None
    await repricer.look()
    await count(world)
    wanted = {
        key: row["cost_micros"] if row["cost_micros"] is not None or row["input_tokens"] is None
        else row["input_tokens"] * given + row["output_tokens"] * made
        for key, row in truth.items()
    }  # fmt: skip
    assert {row["id"]: row["cost_micros"] for row in await sqlite_db.scan(ROWS, {})} == wanted
    assert await sqlite_db.scan(NOTES, {}) == []
    ids = [row["id"] for row in await sqlite_db.scan(IDS, {})]
    _, total = from_scratch(await transcripts(sqlite_db, ids), clock.micros())
    assert without_nothing(await stored_sums(sqlite_db)) == without_nothing(total)
    await closed(world)


async def _some_calls(world: World, written: Written, rng: random.Random) -> Mapping[str, Mapping[str, Any]]:
    """Conversations with calls that have a cost, have none, or never told their tokens; by their numbers."""
    for number in range(6):
        told = replace(ANSWERED, costs=tuple(rng.choice([None, rng.randint(0, 99)]) for _ in range(rng.randint(0, 3))))
        await written.conversation(f"user-{number % 4}", told, told)
    rows = await world.db.scan(ROWS, {})
    async with written.db.batch() as batch:
        for row in rows:
            tells = rng.random() < 0.8
            used = (rng.randint(0, 500), rng.randint(0, 500)) if tells else (None, None)
            batch.add(CHANGE, {"id_": row["id"], "given": used[0], "made": used[1]})
    return {row["id"]: dict(row) for row in await world.db.scan(ROWS, {})}
