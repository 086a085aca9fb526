"""Simulated days over real services: the same seed gives the same days, and what goes wrong is told of and over."""

import random
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

from sqlalchemy import select

from handrail.core import json
from handrail.core.clock import FrozenClock, as_datetime
from handrail.db import Prepared
from handrail.db.sqlite import SqliteDatabase
from handrail.insight.traces import Span
from handrail.insight.traces.tables import trace
from handrail.reports.filters import Filters
from handrail.reports.series import summary
from handrail.serving.conversations.tables import turn
from handrail.testing.simulation import Incident, Plan, Report, Simulation, plan_days
from handrail.testing.simulation.days import DAY, HOUR, Trouble, arrivals
from tests.flows.world import PROJECT, Prediction, World, closed, world_over

NOON = 1_767_268_800_000_000
# What the alerts test fires; the other rules are shown in `tests/flows/test_alert_rules.py`.
SHOWN = frozenset({"dependency_down", "error_rate", "availability_slo", "latency_slo", "approval_sla", "unusual_user"})
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
    """On the simulated clock; what Handrail itself took for them comes on top."""
    turns = await world.db.scan(TURNS, {})
    assert any(each["ended_at"] - each["started_at"] > 1_000_000 for each in turns)
    assert any("execute_tool" in each["spans"] for each in turns)
    for each in turns:
        took = each["ended_at"] - each["started_at"]
        assert took - 1000 <= each["duration_micros"] < took + 5_000_000
        for span in map(Span.of, json.loads(each["spans"])):
            assert span.started_micros + (span.duration_micros or 0) <= each["duration_micros"] + 1000


def test_people_come_in_a_rush_and_hardly_at_night() -> None:
    plan = replace(plan_days(1, until=NOON, days=1, conversations=4000), incidents=())
    calm = arrivals(random.Random(1), plan)
    night, day = ((sum(begins <= (12 + at / HOUR) % 24 < begins + 4 for at in calm)) for begins in (1, 13))
    assert day > 5 * night
    rush = replace(plan, incidents=(Incident("rush", 0, DAY / 48),))
    assert sum(at < DAY / 48 for at in arrivals(random.Random(1), rush)) > 3 * sum(at < DAY / 48 for at in calm)


class TestAlerts:
    async def test_fire_when_things_go_wrong_and_are_resolved_when_they_are_well_again(
        self, migrated_file: Path, tmp_path: Path
    ) -> None:
        def from_to(what: Trouble, begins: float, ends: float) -> Incident:
            return Incident(what, begins * 60, ends * 60)

        trouble = (
            from_to("tools_down", 0, 15),
            from_to("rush", 0, 50),
            from_to("approvers_away", 15, 60),
            from_to("model_hangs", 90, 100),
            from_to("rush", 90, 125),
            from_to("rush", 90, 105),
            from_to("slow", 180, 235),
            from_to("rush", 180, 235),
        )
        plan = plan_days(5, until=NOON, days=1, conversations=260)
        plan = replace(plan, seconds=6 * HOUR, incidents=trouble)
        report, world = await simulated(migrated_file, tmp_path, plan)
        assert report.alerts.keys() >= SHOWN
        assert report.unresolved == 0
        await end(world)
