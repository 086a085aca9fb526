"""Simulated days over real services: the same seed gives the same days, and what goes wrong is told of and over."""

import random
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import select

from handrail.core import json
from handrail.core.clock import FrozenClock, as_datetime
from handrail.core.prices import Budget
from handrail.db import Prepared
from handrail.db.sqlite import SqliteDatabase
from handrail.flows.alert_desk import desk_of
from handrail.insight.alerts import RULES
from handrail.insight.traces import Span
from handrail.insight.traces.tables import trace
from handrail.reports.filters import Filters
from handrail.reports.series import summary
from handrail.serving.conversations.tables import turn
from handrail.testing.simulation import DAILY_BUDGET, Incident, Plan, Report, Simulation, plan_days, plan_every_rule
from handrail.testing.simulation.days import DAY, HOUR, arrivals
from handrail.testing.simulation.run import OPERATOR
from handrail.testing.simulation.systems import ModelName, model_names
from tests.flows.world import PROJECT, Prediction, World, closed, world_over

NOON = 1_767_268_800_000_000
EXAMPLES: Mapping[str, Sequence[str]] = {
    "order_status": ("where is my order A1234", "track my parcel"),
    "refund": ("refund my order", "I want my money back"),
    "product_advice": ("tell me about the shop",),
}
APPROVALS = """
approvals:
- {name: refunds, tools: [refund], risk: high, approvers: {roles: [approver]}, expires_after: 90m, reason: money}
"""


TURNS = Prepared(
    select(turn.c.started_at, turn.c.ended_at, trace.c.duration_micros, trace.c.spans)
    .join(trace, trace.c.turn_id == turn.c.id)
    .where(turn.c.status != "requires_action", turn.c.epoch == 1)
)


class ExampleHead:
    """Knows what the simulated users say, in whatever mood."""

    def predict(self, text: str) -> Prediction:
        found = (name for name, said in EXAMPLES.items() if any(each[:12].lower() in text.lower() for each in said))
        intent = next(found, "product_advice")
        return Prediction(intent, 0.97, ((intent, 0.97), ("hours", 0.03)))


async def simulated(migrated_file: Path, folder: Path, plan: Plan) -> tuple[Report, World]:
    """A fresh database for each: days can't be lived twice."""
    file = folder / f"{uuid4().hex}.db"
    shutil.copy(migrated_file, file)
    clock = FrozenClock(as_datetime(plan.starts_at))
    intents = PROJECT["intents.yaml"].replace("name: chat,", "name: product_advice,")
    agent = PROJECT["agent.yaml"] + "success: {objective: {latency_seconds: {complex: 4}}}\n"
    project = PROJECT | {"agent.yaml": agent, "policies.yaml": APPROVALS, "intents.yaml": intents}
    world = await world_over(SqliteDatabase(file, clock), clock, project=project, sole_owner=True)
    world.release.head = ExampleHead()  # pyright: ignore[reportAttributeAccessIssue] - one of a test
    world.services.budgets = (Budget(name="daily", usd=DAILY_BUDGET * plan.conversations, period="day"),)
    return await Simulation(world.services, clock, world.release, plan, EXAMPLES).run(), world


async def end(world: World) -> None:
    await closed(world)
    await world.db.close()


class TestRun:
    async def test_the_same_seed_makes_the_same_days(self, migrated_file: Path, tmp_path: Path) -> None:
        plan = plan_days(3, until=NOON, days=1, conversations=12)
        trouble = (Incident("tools_down", HOUR, HOUR + 300), Incident("costly", HOUR, HOUR + 600))
        plan = replace(plan, seconds=4 * HOUR, incidents=trouble, look_seconds=1200.0)
        first, world = await simulated(migrated_file, tmp_path, plan)
        again, other = await simulated(migrated_file, tmp_path, plan)
        assert first == again
        assert first.counts["turns"] > first.counts["conversations"] >= 12
        counted = await summary(world.db, Filters("default", plan.starts_at, NOON + 1))
        assert counted.conversations.conversations == first.counts["conversations"]
        await assert_traces_take_as_long_as_their_turns(world)
        for each in (world, other):
            await end(each)


async def assert_traces_take_as_long_as_their_turns(world: World) -> None:
    """To the microsecond, but for rounding: both are of the simulated clock."""
    turns = await world.db.scan(TURNS, {})
    assert any(each["ended_at"] - each["started_at"] > 1_000_000 for each in turns)
    assert any("execute_tool" in each["spans"] for each in turns)
    for each in turns:
        took = each["ended_at"] - each["started_at"]
        assert abs(each["duration_micros"] - took) <= 100
        for span in map(Span.of, json.loads(each["spans"])):
            assert span.started_micros + (span.duration_micros or 0) <= each["duration_micros"] + 100


def test_people_come_in_a_rush_and_hardly_at_night() -> None:
    plan = replace(plan_days(1, until=NOON, days=1, conversations=4000), incidents=())
    calm = arrivals(random.Random(1), plan)
    night, day = ((sum(begins <= (12 + at / HOUR) % 24 < begins + 4 for at in calm)) for begins in (1, 13))
    assert day > 5 * night
    rush = replace(plan, incidents=(Incident("rush", 0, DAY / 48),))
    assert sum(at < DAY / 48 for at in arrivals(random.Random(1), rush)) > 3 * sum(at < DAY / 48 for at in calm)


class TestNextLook:
    PLAN = replace(
        plan_days(1, until=NOON, days=1, conversations=8),
        incidents=(Incident("rush", HOUR, 2 * HOUR), Incident("slow", 3 * HOUR, 4 * HOUR)),
    )

    def test_is_seldom_while_all_is_well_however_many_come(self) -> None:
        assert self.PLAN.next_look(HOUR) == HOUR + 300

    def test_is_in_a_minute_while_something_is_wrong_and_for_half_an_hour_afterwards(self) -> None:
        assert self.PLAN.next_look(3 * HOUR) == 3 * HOUR + 60
        assert self.PLAN.next_look(4.4 * HOUR) == 4.4 * HOUR + 60
        assert self.PLAN.next_look(4.5 * HOUR) == 4.5 * HOUR + 300

    def test_is_just_before_something_begins(self) -> None:
        assert self.PLAN.next_look(3 * HOUR - 100) == 3 * HOUR - 2
        assert self.PLAN.next_look(3 * HOUR - 2) == 3 * HOUR + 58


@pytest.mark.parametrize("of_day", range(24))
@pytest.mark.parametrize("days", [1, 2, 7])
def test_usual_days_are_well_again_at_the_end_but_for_approvals(of_day: int, days: int) -> None:
    plan = plan_days(1, until=NOON + int(of_day * HOUR * 1e6), days=days, conversations=600)
    for each in plan.incidents:
        assert 0 <= each.begins < each.ends <= plan.seconds
    late = {each.what for each in plan.incidents if each.ends > plan.seconds - HOUR / 2}
    assert late <= {"approvers_away", "rush", "costly"}
    # A budget of the day is whole again at midnight, which comes before the end.
    (spike,) = plan.of("costly")
    assert of_day == 11 or (plan.starts_at / 1e6 + spike.begins) // DAY < (plan.starts_at / 1e6 + plan.seconds) // DAY


def test_simulated_models_have_the_names_of_the_project_s_own() -> None:
    large, small, further = (ModelName("openai_compatible", name) for name in ("gpt-5-mini", "gpt-5-nano", "other"))
    assert model_names([large, small, further]) == (large, small)
    assert model_names([large, large]) == (large, ModelName("openai_compatible", "gpt-5-mini-small"))


@pytest.mark.slow
async def test_every_rule_of_alerts_fires_and_is_resolved(migrated_file: Path, tmp_path: Path) -> None:
    plan = plan_every_rule(1, until=NOON, conversations=460, look_seconds=3000.0)
    report, world = await simulated(migrated_file, tmp_path, plan)
    assert [rule for rule in RULES if not report.fired.get(rule)] == []
    assert report.still_firing == {}
    # Nothing of it is hidden from those who look after the agent.
    shown = await desk_of(world.services, OPERATOR).list(limit=200)
    assert {each["rule"] for each in shown["data"] if each["fired_at"]} == set(RULES)
    assert {each["labels"].get("name") for each in shown["data"]} >= {"scripted/scripted"}
    await end(world)
