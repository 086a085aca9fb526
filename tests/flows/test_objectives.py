"""Error budgets, burn rates and latencies of the scorecard rest on every turn that has ended, exactly."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import update

from handrail.cli.scorecard import lines_of
from handrail.core.clock import FrozenClock
from handrail.core.principal import Principal
from handrail.db import Prepared
from handrail.delivery.releases import Sources
from handrail.delivery.releases.tables import release_file
from handrail.flows.digest import digest_of
from handrail.flows.gauges import look
from handrail.flows.objectives import DAY, objectives_of, stated
from handrail.flows.releases import Releases
from handrail.flows.scorecard import Scorecard, ScorecardDesk, scorecards
from handrail.flows.scorecard_body import objectives_body, scorecard_body
from handrail.flows.services import Services
from handrail.flows.signals import signals_of
from handrail.insight.alerts import AlertConfig
from handrail.insight.alerts import Objective as Stated
from handrail.insight.scorecard import Additions, account
from handrail.insight.scorecard.histogram import bucket_of
from handrail.insight.scorecard.rollup import start_of
from handrail.insight.scorecard.wording import objectives, said
from handrail.reports.filters import Filters
from handrail.serving.agents.success import Objective
from handrail.serving.models import ModelConnections, ModelRegistry
from tests.flows.world import PROJECT, World

MINUTE = 60 * 1_000_000
HOUR_SECONDS = 3600
ALTERED = Prepared(update(release_file).values(content=b"name: other"))
OLGA = Principal("default", "olga")


async def happened(
    services: Services, at: int, turns: int, failed: int = 0, *, seconds: Mapping[float, int] | None = None, **more: str
) -> None:
    """So many turns in a minute, as the background adds them."""
    about = {"tenant": "default", "agent": "shop", "release": "rel_1", "intent": "hours", "channel": "api"} | more
    latencies = Counter({str(bucket_of(int(each * 1e6))): count for each, count in (seconds or {}).items()})
    amounts = {"turns": turns, "completed": turns - failed, "failed": failed}
    hour, release, intent = start_of(at, "hour"), about["release"], about["intent"]
    contribution = {
        "turns": [[start_of(at, "minute"), release, intent, about.get("latency_class", "simple"), amounts, latencies]],
        "reasons": [[hour, release, intent, "error", about.get("error", "internal"), failed]],
        "conversation": [hour, release, intent, {}],
    }
    added: Additions = {}
    account(added, about["tenant"], about["agent"], about["channel"], contribution)
    async with services.db.batch() as batch:
        services.facts.save(batch, [], added, at=at)


def until_now(clock: FrozenClock, **more: str) -> Filters:
    return Filters("default", clock.micros() - DAY, clock.micros() + MINUTE, "shop", **more)


async def report_of(world: World, **more: int) -> Scorecard:
    services = world.services
    return await ScorecardDesk(services.db, services.clock, services.releases, services.audit, OLGA).report(
        until=services.clock.micros() + MINUTE, **more
    )


class TestBudget:
    async def test_is_of_all_turns_of_its_window_and_of_no_others(self, any_world: World, clock: FrozenClock) -> None:
        now = clock.micros()
        await happened(any_world.services, now - 20 * DAY, 900, 2)
        await happened(any_world.services, now, 100, 3)
        await happened(any_world.services, now - 40 * DAY, 1000, 1000)
        await happened(any_world.services, now, 100, 100, agent="other")
        await happened(any_world.services, now, 100, 100, tenant="stranger")
        found = await objectives_of(any_world.db, until_now(clock), Objective(availability=0.99), now=now)
        assert (found.availability.total, found.availability.bad) == (1000, 5)
        assert found.availability.left == pytest.approx(0.5)

    async def test_burns_as_fast_as_both_windows_say(self, any_world: World, clock: FrozenClock) -> None:
        now = clock.micros()
        for minute in range(50):
            await happened(any_world.services, now - minute * MINUTE, 10, 2)
        wanted = until_now(clock)
        found = await objectives_of(any_world.db, wanted, Objective(availability=0.99), now=now)
        assert found.burning is not None
        assert (found.burning.long_seconds, found.burning.long_rate) == (3600, pytest.approx(20))
        # It ended half an hour later: the budget is as empty as before, and nothing burns.
        later = replace(wanted, until=now + 30 * MINUTE)
        await happened(any_world.services, now + 29 * MINUTE, 100)
        calm = await objectives_of(any_world.db, later, Objective(availability=0.99), now=now + 30 * MINUTE)
        assert calm.availability.bad == 100
        assert calm.burns[0].short_rate == 0
        assert not calm.burns[0].is_too_fast

    async def test_tells_no_window_that_is_not_kept(self, any_world: World, clock: FrozenClock) -> None:
        now = clock.micros()
        await happened(any_world.services, now - 10 * DAY, 100, 50)
        past = replace(until_now(clock), until=now - 10 * DAY + MINUTE)
        found = await objectives_of(any_world.db, past, Objective(), now=now)
        assert [(each.long_seconds, each.long_rate) for each in found.burns] == []
        assert found.availability.bad == 50
        narrowed = await objectives_of(any_world.db, until_now(clock, intent="hours"), Objective(), now=now)
        assert narrowed.burns == []

    async def test_of_latency_counts_what_took_longer_than_the_limit(
        self, any_world: World, clock: FrozenClock
    ) -> None:
        await happened(any_world.services, clock.micros(), 100, seconds={0.5: 90, 9.0: 10})
        now = clock.micros()
        simple, medium, _ = (await objectives_of(any_world.db, until_now(clock), Objective(), now=now)).latencies
        assert (simple.budget.total, simple.budget.bad, medium.budget.total) == (100, 10, 0)
        assert simple.budget.left == pytest.approx(-1)

    async def test_says_nothing_of_a_few_turns_but_their_count(self, any_world: World, clock: FrozenClock) -> None:
        await happened(any_world.services, clock.micros(), 3, 1)
        body = objectives_body(await objectives_of(any_world.db, until_now(clock), Objective(), now=clock.micros()))
        assert (body["availability"]["budget_left"], body["availability"]["is_enough"]) == (None, False)
        lines = objectives(body)
        assert lines[0] == "Availability: 2 of 3 turns ended without an error; too few turns to say more"
        assert lines[1] == "Latency of simple turns: not measured yet"


class TestReport:
    async def test_has_percentiles_by_class_against_the_objective_and_the_time_before(
        self, any_world: World, clock: FrozenClock
    ) -> None:
        now = clock.micros()
        await happened(any_world.services, now, 600, seconds={0.2: 570, 5.0: 30})
        await happened(any_world.services, now - 8 * DAY, 600, seconds={1.0: 600})
        lines = {line["key"]: line for line in scorecard_body(await report_of(any_world))["measures"]}
        half, most = lines["latency_simple_p50"], lines["latency_simple_p95"]
        assert half["value"] == pytest.approx(0.2, rel=0.05)
        assert half["low"] < 0.2 <= half["high"]
        assert (half["n"], half["users"], half["verdict"]) == (600, None, "no_target")
        assert half["change"]["high"] < 0
        assert (most["target"], most["verdict"]) == (2.0, "unclear")
        assert lines["latency_complex_p99"]["verdict"] == "not_measured"

    async def test_says_no_interval_that_so_few_turns_can_not_give(self, any_world: World, clock: FrozenClock) -> None:
        await happened(any_world.services, clock.micros(), 30, seconds={0.2: 30})
        lines = {line["key"]: line for line in scorecard_body(await report_of(any_world))["measures"]}
        line = lines["latency_simple_p95"]
        assert said(line, "seconds", "USD").endswith("too few turns for an interval")
        assert line["verdict"] == "too_few"

    async def test_tells_errors_by_type_with_their_share_of_all_turns(
        self, any_world: World, clock: FrozenClock
    ) -> None:
        now = clock.micros()
        await happened(any_world.services, now, 300, 12, error="deadline_exceeded")
        await happened(any_world.services, now, 100, 4)
        await happened(any_world.services, now - 8 * DAY, 300, 7)
        first, second = scorecard_body(await report_of(any_world))["errors"]
        assert (first["type"], first["count"], first["n"], first["value"]) == ("deadline_exceeded", 12, 400, 0.03)
        assert first["low"] < 0.03 < first["high"]
        assert (second["type"], second["previous_count"]) == ("internal", 7)

    async def test_is_told_as_text_too(self, any_world: World, clock: FrozenClock) -> None:
        await happened(any_world.services, clock.micros(), 400, 8, error="deadline_exceeded", seconds={0.5: 400})
        told = lines_of(scorecard_body(await report_of(any_world)))
        (line,) = [line for line in told if line.startswith("Latency p95, simple turns")]
        assert " ms (" in line
        assert "n=400" in line
        at = told.index("Service level objectives of shop, 28 days:")
        assert told[at + 1].endswith("objective 99.5 %; error budget: used up 4.0 times")
        assert "  Burn rate in 1 h: 4.0, in 5 min: 4.0 (limit 14.4 in both): fine" in told
        assert "  deadline_exceeded: 8 of 400 turns, 2.0 % (1.0 % to 3.9 %); before: 0" in told

    async def test_gives_percentiles_to_a_baseline(self, any_world: World, clock: FrozenClock) -> None:
        await happened(any_world.services, clock.micros() - MINUTE * 60, 600, seconds={1.0: 600})
        services = any_world.services
        desk = ScorecardDesk(services.db, services.clock, services.releases, services.audit, OLGA)
        kept = await desk.record_baseline()
        assert kept.measures["latency_simple_p50"].low is not None
        report = await report_of(any_world, baseline=1)
        assert {line.measure.key: line for line in report.lines}["latency_simple_p50"].gain is not None


class TestStated:
    async def test_is_what_the_stable_release_says_without_running_its_code(
        self, any_world: World, clock: FrozenClock
    ) -> None:
        services = any_world.services
        agent = PROJECT["agent.yaml"] + "success: {objective: {availability: 0.97, latency_seconds: {medium: 3}}}\n"
        files = {path: text.encode() for path, text in {**PROJECT, "agent.yaml": agent}.items()}
        made = await services.releases.create("default", Sources(files), author="olga")
        await services.releases.use("default", made.id)
        services.releases = Releases(services.db, ModelRegistry(ModelConnections(), {}), clock)
        assert await stated(services) == {("default", "shop"): Stated(0.97, 0.95, {"medium": 3.0})}
        assert services.releases.tools_of(None) == set()

    async def test_is_the_default_where_a_release_can_not_be_read(self, any_world: World) -> None:
        services = any_world.services
        services.releases = Releases(services.db, ModelRegistry(ModelConnections(), {}), services.clock)
        async with services.db.batch() as batch:
            batch.add(ALTERED, {})
        assert await stated(services) == {
            ("default", "shop"): Stated(0.995, 0.95, {"simple": 2.0, "medium": 6.0, "complex": 20.0})
        }

    async def test_alerts_and_the_scorecard_count_the_same_turns_against_the_same_objective(
        self, any_world: World, clock: FrozenClock
    ) -> None:
        services, now = any_world.services, clock.micros()
        for name, seconds in (("simple", {0.5: 90, 2.1: 10}), ("medium", {5.9: 40, 6.2: 3})):
            await happened(services, now, 100, 7, seconds=seconds, latency_class=name)
        (agent,) = (await signals_of(services, now + 1)).agents
        found = (await report_of(any_world)).objectives
        seen = agent.of(HOUR_SECONDS)
        assert (seen.turns, seen.failed) == (found.availability.total, found.availability.bad) == (200, 14)
        assert agent.objective.availability == found.availability.objective
        assert {name: (each.turns, each.bad) for name, each in seen.timed.items()} == {
            each.latency_class: (each.budget.total, each.budget.bad) for each in found.latencies if each.budget.total
        }
        assert agent.objective.latency_seconds == {each.latency_class: each.seconds for each in found.latencies}

    async def test_is_told_to_the_metrics(self, any_world: World) -> None:
        await look(any_world.services)
        told = any_world.services.metrics.render().decode()
        assert 'handrail_objective_ratio{agent="shop",objective="availability"} 0.995' in told
        assert 'handrail_objective_seconds{agent="shop",latency_class="medium"} 6.0' in told

    async def test_says_where_alerts_hold_the_agent_to_something_else(
        self, any_world: World, clock: FrozenClock, tmp_path: Path
    ) -> None:
        file = tmp_path / "alerts.yaml"
        file.write_text("rules: {availability_slo: {objective: 0.9}, latency_slo: {target_seconds: 3}}\n")
        any_world.services.alerts.config = AlertConfig(file, ())
        report = await scorecards(any_world.services, OLGA).report()
        body = scorecard_body(report)["objectives"]
        assert body["differing"] == [
            "availability_slo: alerts.yaml says 90%, agent.yaml 99.5%",
            "latency_slo: alerts.yaml says 3 s, agent.yaml simple 2 s, medium 6 s, complex 20 s",
        ]
        assert f"Alerts differ: {body['differing'][0]}" in objectives(body)


async def test_the_digest_says_how_the_objectives_of_each_agent_stand(any_world: World, clock: FrozenClock) -> None:
    now = clock.micros()
    await happened(any_world.services, now - DAY, 1000, 4, seconds={1.0: 1000})
    told = await digest_of(any_world.services, "default", now - now % DAY, 7)
    assert "shop: Availability: 99.6 % (99.0 % to 99.8 %) of 1000 turns" in told.body
    assert "error budget: 20% left" in told.body
    assert "Latency of 1000 simple turns: p50 1.0" in told.body
