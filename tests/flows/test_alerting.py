"""What goes wrong is found, told of once, and told to be over; on both databases and with several processes."""

from collections.abc import AsyncIterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from handrail.core.answers import Handoff
from handrail.core.clock import FrozenClock
from handrail.core.counts import counts_text
from handrail.core.jobs import DEPLOYMENT, Task
from handrail.core.prices import Budget
from handrail.core.principal import Principal, Role
from handrail.db import Database, Prepared, StoreUnavailable
from handrail.flows import alerting
from handrail.flows.feedback import VerdictWanted, give_verdict
from handrail.flows.leases import sweep
from handrail.flows.notify import case_opened
from handrail.flows.signals import signals_of
from handrail.insight.alerts import (
    AlertConfig,
    Alerts,
    AlertState,
    AlertStore,
    Counted,
    Notice,
    RecordingSender,
    Silence,
)
from handrail.insight.scorecard.tables import conversation_fact, reason_rollup, turn_rollup
from handrail.oversight.escalations import Escalation
from handrail.reports import signals as read
from handrail.serving.models import calls
from tests.flows.desk import Desk
from tests.flows.test_approval import GUARDED
from tests.flows.world import World, closed, world_over

MINUTE, HOUR, DAY = 60_000_000, 3_600_000_000, 86_400_000_000


def sender_of(world: World) -> RecordingSender:
    sender = world.services.alerts.sender
    assert isinstance(sender, RecordingSender)
    return sender


async def look(world: World, clock: FrozenClock, *, times: int = 1, seconds: float = 15) -> None:
    for _ in range(times):
        await world.services.audit.seal()
        await alerting.watch(world.services)
        await alerting.send(world.services)
        clock.advance(seconds)


async def fail_a_job(world: World) -> None:
    task = Task("run_1", "retention", DEPLOYMENT)
    await world.services.background.runs.start(task)
    await world.services.background.runs.end(task, report={}, error_code="disk_error", error_message="full")


async def mend_the_job(world: World, clock: FrozenClock) -> None:
    clock.advance(1)
    task = Task("run_2", "retention", DEPLOYMENT)
    await world.services.background.runs.start(task)
    await world.services.background.runs.end(task, report={})


def break_calls(world: World, key: str) -> None:
    for _ in range(100):
        try:
            world.services.breakers.guard(key).failure(0.1)
        except Exception:
            return


async def fill(world: World, table: Any, **row: Any) -> None:
    given: dict[str, Any] = {
        column.name: 0 for column in table.columns if not column.nullable and column.server_default is None
    } | row
    async with world.services.db.batch() as batch:
        batch.add(Prepared(insert(table), list(given)), given)


async def turns(world: World, grain: str, starts_at: int, count: int, *, failed: int = 0, slow: int = 0) -> None:
    keys = {
        "tenant_id": "default",
        "agent": "shop",
        "release_id": "rel_1",
        "intent": "",
        "channel": "",
        "latency_class": "simple",
    }
    of_time = {"grain": grain, "starts_at": starts_at}
    latencies = counts_text({120: slow, 50: count - slow} if slow else {})
    await fill(world, turn_rollup, **keys, **of_time, turns=count, failed=failed, latencies=latencies)


class TestTelling:
    async def test_a_failed_job_is_told_once_and_its_end_too(self, any_world: World, clock: FrozenClock) -> None:
        await fail_a_job(any_world)
        await look(any_world, clock, times=4)
        sent = sender_of(any_world).sent
        assert sorted((channel, each.title) for channel, each in sent) == [
            ("boss", "[warning] job failed of retention"),
            ("ops", "[warning] job failed of retention"),
        ]
        assert "disk_error (run_1)" in sent[0][1].body
        await mend_the_job(any_world, clock)
        await look(any_world, clock, times=12)
        assert sorted((channel, each.title) for channel, each in sent[2:]) == [
            ("boss", "Resolved: job failed of retention"),
            ("ops", "Resolved: job failed of retention"),
        ]
        (alert,) = await any_world.services.alerts.store.list(None)
        assert alert.state is AlertState.RESOLVED
        told = await any_world.services.alerts.store.told_of(alert.id)
        assert [(each.status, each.attempts) for each in told] == [("sent", 1)] * 4

    async def test_a_breaker_that_opens_is_told_after_it_held(self, any_world: World, clock: FrozenClock) -> None:
        break_calls(any_world, "tool:shop/refund")
        await look(any_world, clock, times=3)
        assert sender_of(any_world).sent == []
        await look(any_world, clock, times=3)
        assert {each.title for _, each in sender_of(any_world).sent} == {"[critical] dependency down of shop/refund"}

    async def test_a_silenced_one_is_stored_and_told_of_to_nobody(self, world: World, clock: FrozenClock) -> None:
        at = clock.micros()
        silence = Silence("slc_1", "*", {"rule": "job_failed"}, at, at + HOUR, "known", "oscar", at)
        async with world.services.db.batch() as batch:
            world.services.alerts.store.add_silence(batch, silence)
        await fail_a_job(world)
        await look(world, clock, times=4)
        assert sender_of(world).sent == []
        assert [each.state for each in await world.services.alerts.store.list(None)] == [AlertState.FIRING]

    async def test_a_failing_channel_is_tried_again_and_told_of_on_the_other(
        self, any_world: World, clock: FrozenClock
    ) -> None:
        sender = sender_of(any_world)
        sender.failing = {"ops"}
        await fail_a_job(any_world)
        await look(any_world, clock, times=8)
        titles = [(channel, each.title) for channel, each in sender.sent]
        assert ("boss", "[critical] channel failing of ops") in titles
        assert {channel for channel, _ in titles} == {"boss"}
        sender.failing = set()
        await look(any_world, clock, times=40)
        assert ("ops", "[warning] job failed of retention") in [(channel, each.title) for channel, each in sender.sent]
        assert ("boss", "Resolved: channel failing of ops") in [(channel, each.title) for channel, each in sender.sent]

    async def test_what_a_channel_refused_waits_for_the_end_of_a_silence_that_began_meanwhile(
        self, any_world: World, clock: FrozenClock
    ) -> None:
        store, sender = any_world.services.alerts.store, sender_of(any_world)
        sender.failing = {"ops", "boss"}
        await fail_a_job(any_world)
        await look(any_world, clock, times=4)
        at = clock.micros()
        silence = Silence("slc_1", "*", {"rule": "job_failed"}, at, at + HOUR // 2, "known", "oscar", at)
        async with any_world.services.db.batch() as batch:
            store.add_silence(batch, silence)
        sender.failing = set()
        await look(any_world, clock, times=20, seconds=80)
        assert "job failed of retention" not in str(sender.sent)
        await look(any_world, clock, times=10, seconds=80)
        told = [(channel, each.title) for channel, each in sender.sent if "job failed" in each.title]
        assert sorted(told) == [(channel, "[warning] job failed of retention") for channel in ("boss", "ops")]

    async def test_what_is_over_before_a_channel_takes_its_message_is_told_by_its_end_alone(
        self, any_world: World, clock: FrozenClock
    ) -> None:
        store, sender = any_world.services.alerts.store, sender_of(any_world)
        sender.failing = {"ops"}
        await fail_a_job(any_world)
        await look(any_world, clock, times=8)
        await mend_the_job(any_world, clock)
        await look(any_world, clock, times=12)
        sender.failing = set()
        await look(any_world, clock, times=60)
        titles = [each.title for channel, each in sender.sent if channel == "ops" and "job failed" in each.title]
        assert titles == ["Resolved: job failed of retention"]
        alert = next(each for each in await store.list(None) if each.rule == "job_failed")
        dropped = [each for each in await store.told_of(alert.id) if each.status == "given_up"]
        assert [(each.notice.channel, each.notice.kind) for each in dropped] == [("ops", "firing")]
        assert "over before" in (dropped[0].error or "")

    async def test_a_notice_that_nobody_takes_is_given_up_after_an_hour(self) -> None:
        waits = [alerting.wait_after(attempts) for attempts in range(alerting.MOST_ATTEMPTS)]
        assert waits[:3] == [15.0, 30.0, 60.0]
        assert waits[-1] is None
        assert 3600 < sum(wait for wait in waits if wait) < 3 * 3600


class TestOnceInACluster:
    @pytest.fixture
    def other(self, any_world: World) -> World:
        """Another process over the same database."""
        services = replace(
            any_world.services,
            limits=replace(any_world.services.limits, owner="other"),
            alerts=Alerts(AlertStore(any_world.services.db), sender=RecordingSender(("ops", "boss"))),
        )
        return World(services, any_world.release, any_world.head, any_world.db)

    async def test_one_of_two_processes_looks_and_tells(
        self, any_world: World, other: World, clock: FrozenClock
    ) -> None:
        await fail_a_job(any_world)
        for _ in range(4):
            await look(any_world, clock, seconds=0)
            await look(other, clock)
        assert len(sender_of(any_world).sent) == 2
        assert sender_of(other).sent == []

    async def test_what_only_the_other_process_sees_is_told_too(
        self, any_world: World, other: World, clock: FrozenClock
    ) -> None:
        other.services.breakers = any_world.services.breakers
        any_world.services.breakers = type(any_world.services.breakers)(clock)
        break_calls(other, "tool:shop/refund")
        for _ in range(6):
            await look(any_world, clock, seconds=0)
            await look(other, clock)
        assert {each.title for _, each in sender_of(any_world).sent} == {"[critical] dependency down of shop/refund"}

    async def test_one_that_is_killed_before_it_sends_leaves_it_to_the_next_which_sends_it_once(
        self, any_world: World, other: World, clock: FrozenClock
    ) -> None:
        await fail_a_job(any_world)
        await alerting.watch(any_world.services)
        clock.advance(61)
        await look(other, clock, times=5)
        assert len(sender_of(other).sent) == 2
        # The first one comes back from a long pause and believes that it may send.
        assert await alerting.send(any_world.services) == 0
        assert sender_of(any_world).sent == []

    async def test_one_that_is_killed_while_it_sends_is_followed_by_the_same_notice(
        self, any_world: World, other: World, clock: FrozenClock
    ) -> None:
        await fail_a_job(any_world)
        await alerting.watch(any_world.services)
        due = await any_world.services.alerts.store.due()
        async with any_world.services.db.batch() as batch:
            for each in due:
                any_world.services.alerts.store.claim(batch, each, seconds=60)
        clock.advance(46)
        await look(other, clock)
        assert sender_of(other).sent == []
        await look(other, clock, times=2)
        assert {each.id for _, each in sender_of(other).sent} == {each.notice.id for each in due}

    async def test_one_that_ends_lets_another_look_at_once(
        self, any_world: World, other: World, clock: FrozenClock
    ) -> None:
        await look(any_world, clock, seconds=0)
        await look(other, clock, seconds=0)
        assert other.services.alerts.lease is None
        await alerting.close(any_world.services)
        await look(other, clock, seconds=0)
        assert other.services.alerts.lease is not None


class TestSignals:
    async def test_turns_are_counted_by_window_and_agent(self, any_world: World, clock: FrozenClock) -> None:
        at = clock.micros()
        await turns(any_world, "minute", at - 2 * MINUTE, 40, failed=10, slow=8)
        await turns(any_world, "minute", at - 20 * MINUTE, 100, failed=1)
        await turns(any_world, "minute", at - 30 * HOUR, 100, failed=1)
        (agent,) = (await signals_of(any_world.services, at)).agents
        shown = {
            seconds: (each.turns, each.failed, each.timed.get("simple")) for seconds, each in agent.windows.items()
        }
        assert (agent.tenant_id, agent.agent) == ("default", "shop")
        assert shown == {
            300: (40, 10, Counted(40, 8)),
            1800: (140, 11, Counted(40, 8)),
            3600: (140, 11, Counted(40, 8)),
            21_600: (140, 11, Counted(40, 8)),
            86_400: (140, 11, Counted(40, 8)),
        }

    async def test_quality_is_what_reviewers_find_and_what_answers_claim_too(
        self, any_world: World, clock: FrozenClock
    ) -> None:
        services, reviewer = any_world.services, Principal("default", "rita", frozenset({Role.REVIEWER}))
        conversation = await any_world.open()
        for finding in ({"hallucination": True}, {"intent_correct": True}, {"resolved": False}):
            turn = (await any_world.say(conversation, "hello"))["id"]
            await give_verdict(services, reviewer, conversation.id, VerdictWanted(turn, "routine", 0.5, **finding))
        picked = VerdictWanted(turn, "policy", 1.0, hallucination=True)
        await give_verdict(services, replace(reviewer, subject="robin"), conversation.id, picked)
        at = clock.micros()
        reason = {"kind": "guardrail", "reason": "grounding", "grain": "hour", "agent": "shop", "tenant_id": "default"}
        for since, count in ((at - HOUR, 3), (at - 3 * DAY, 1)):
            keys = {"starts_at": since, "release_id": "", "intent": "", "channel": ""}
            await turns(any_world, "hour", since, 40)
            await fill(any_world, reason_rollup, **reason, **keys, count=count)
        found = {each.measure: each for each in await read.quality(services.db, at)}
        said, claims = found["verdicts"], found["unsupported_claims"]
        assert (said.bad, said.count, said.usual_count) == (2, 3, 0)
        assert (claims.bad, claims.count, claims.usual_bad, claims.usual_count) == (3, 40, 1, 40)

    async def test_a_clock_that_is_put_back_counts_no_lost_trace_for_as_long(
        self, any_world: World, clock: FrozenClock
    ) -> None:
        alerts, at = any_world.services.alerts, clock.micros()
        alerts.lost_lately(at + DAY)
        alerts.lose("full", 3)
        assert alerts.lost_lately(at + DAY) == 3
        assert alerts.lost_lately(at) == 0
        assert len(alerts.lost_at) == 1

    async def test_an_error_spike_fires_and_resolves(self, any_world: World, clock: FrozenClock) -> None:
        await turns(any_world, "minute", clock.micros(), 60, failed=30)
        await look(any_world, clock, times=6)
        rules = {each.rule for each in await any_world.services.alerts.store.list(None, state="firing")}
        assert rules == {"availability_slo", "error_rate"}
        await look(any_world, clock, times=40, seconds=60)
        assert await any_world.services.alerts.store.list(None, state="firing") == []

    async def test_a_budget_that_is_nearly_spent_is_told_of(self, any_world: World, clock: FrozenClock) -> None:
        any_world.services.budgets = (Budget(name="small", usd=Decimal("1")), Budget(name="large", usd=Decimal(1000)))
        at = clock.micros()
        keys = {"tenant_id": "default", "agent": "shop", "release_id": "rel_1"}
        keys |= dict.fromkeys(("intent", "channel", "latency_class"), "")
        await fill(any_world, turn_rollup, **keys, grain="day", starts_at=at - at % DAY, cost_micros=850_000)
        await look(any_world, clock, times=2)
        ((title, body), _) = [(each.title, each.body) for _, each in sender_of(any_world).sent]
        assert title == "[warning] budget spent of small"
        assert "0.85 USD of 1.00 USD is spent (85%)" in body

    async def test_a_clock_that_is_put_back_leaves_no_budget_old(self, any_world: World, clock: FrozenClock) -> None:
        services = any_world.services
        services.alerts.budgets_at = services.alerts.history_at = clock.micros() + 365 * DAY
        any_world.services.budgets = (Budget(name="all", usd=Decimal(1)),)
        found = await signals_of(services, clock.micros())
        assert [each.name for each in found.budgets] == ["all"]
        assert services.alerts.history_at == clock.micros()

    async def test_lost_traces_are_told_of_and_those_of_erased_conversations_are_not(
        self, world: World, clock: FrozenClock
    ) -> None:
        world.services.alerts.lose("conversation_gone", 5)
        await look(world, clock, times=6)
        assert sender_of(world).sent == []
        world.services.alerts.lose("line_full", 7)
        await look(world, clock, times=6)
        assert {each.title for _, each in sender_of(world).sent} == {"[warning] traces dropped"}
        await look(world, clock, times=30)
        assert await world.services.alerts.store.list(None, state="firing") == []

    async def test_the_same_hour_of_earlier_days_is_the_measure_of_silence(
        self, any_world: World, clock: FrozenClock
    ) -> None:
        clock.advance(9.5 * 3600)
        at = clock.micros()
        for day in range(1, 10):
            await turns(any_world, "day", at - at % DAY - day * DAY, 1000)
            await turns(any_world, "hour", at - at % HOUR - day * DAY, 100)
            await turns(any_world, "hour", at - at % HOUR - day * DAY - HOUR, 60)
        ((key, days),) = (await read.same_hours(any_world.services.db, at)).items()
        assert (key, days) == (("default", "shop"), [80.0] * 9)
        await look(any_world, clock, times=30)
        assert "0 turns in an hour, usually 8" in sender_of(any_world).sent[0][1].body

    async def test_without_history_it_says_so(self, any_world: World, clock: FrozenClock) -> None:
        await look(any_world, clock)
        states = {each.rule: each.said for each in await any_world.services.alerts.store.rule_states("default")}
        assert states["traffic_drop"] == "not enough history: 0 of 7 days"

    async def test_a_user_who_does_far_more_is_told_of_by_a_pseudonym(
        self, any_world: World, clock: FrozenClock
    ) -> None:
        at = clock.micros()
        for number in range(30):
            await fact(any_world, f"u{number}", at - 10 * MINUTE, turns=4)
        await fact(any_world, "ana@example.com", at - 10 * MINUTE, turns=20, side_effects=15)
        for hour in range(2, 10):
            await fact(any_world, "ana@example.com", at - hour * HOUR, turns=3)
        await look(any_world, clock)
        (alert,) = await any_world.services.alerts.store.list("default", state="firing")
        assert alert.labels["measure"] == "side_effects"
        assert alert.labels["principal"].startswith("hmac:")
        bodies = [each.title + each.body for _, each in sender_of(any_world).sent]
        assert bodies
        assert not any("ana" in each for each in bodies)

    async def test_a_source_that_can_not_be_read_leaves_its_alerts_as_they_are(
        self, world: World, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await fail_a_job(world)
        await look(world, clock)

        async def down(*_: object) -> None:
            raise StoreUnavailable("no answer")

        monkeypatch.setattr(read, "failed_jobs", down)
        await look(world, clock, times=30)
        assert [each.rule for each in await world.services.alerts.store.list(None, state="firing")] == ["job_failed"]


def test_a_file_that_is_bad_at_the_start_leaves_the_shipped_rules(tmp_path: Path) -> None:
    path = tmp_path / "alerts.yaml"
    path.write_text("rules: {nonsense: {}}\n")
    config = AlertConfig(path, ("ops",))
    assert config.file.rules.error_rate.enabled
    assert config.problem is not None
    assert "HANDRAIL_ALERTS__FILE" in str(AlertConfig(tmp_path / "none.yaml", ()).problem)
    path.write_text("routes: [{to: [oops]}]\n")
    assert config.renew()
    assert "there is no channel 'oops'; set HANDRAIL_ALERTS__CHANNELS__OOPS" in str(config.problem)
    path.write_text("routes: [{to: [ops]}]\n")
    assert config.renew()
    assert config.problem is None


async def fact(world: World, subject: str, last_at: int, **counts: int) -> None:
    known = {"subject": subject, "started_at": last_at, "last_at": last_at, "contribution": "{}", "agent": "shop"}
    texts = {"release_id": "", "channel": "", "intent": "", "variant": "", "tenant_id": "default"}
    await fill(world, conversation_fact, conversation_id=f"conv_{subject}_{last_at}", **known, **texts, **counts)


class TestPeople:
    @pytest.fixture
    async def guarded(self, sqlite_db: Database, clock: FrozenClock, desk: Desk) -> AsyncIterator[World]:
        world = await world_over(sqlite_db, clock, project=GUARDED)
        world.services.alerts.config.file = world.services.alerts.config.file.model_copy(
            update={"teams": {"warehouse": ["ops"], "leads": ["boss"], "support": ["boss"]}}
        )
        yield world
        await closed(world)

    async def test_those_who_may_decide_are_reminded_and_then_the_next_are_told(
        self, guarded: World, clock: FrozenClock
    ) -> None:
        guarded.script(calls(("get_stock", {"item": "secret lamp"})), "done")
        result = await guarded.say(await guarded.open(), "hello there")
        (waiting,) = await guarded.services.approvals.of_turn("default", result["id"])
        await look(guarded, clock, seconds=0)
        clock.advance(1801)
        await sweep(guarded.services)
        await look(guarded, clock, seconds=0)
        clock.advance(1800)
        await sweep(guarded.services)
        await look(guarded, clock, seconds=0)
        sent = [(channel, each) for channel, each in sender_of(guarded).sent if each.kind == "approval"]
        assert [(channel, each.title) for channel, each in sent] == [
            ("ops", "An approval still waits: get_stock"),
            ("boss", "An approval goes to more people: get_stock"),
            ("ops", "An approval goes to more people: get_stock"),
        ]
        assert f"/console/approvals/{waiting.id}" in sent[0][1].body
        assert not any("lamp" in each.body for _, each in sent)

    async def test_a_case_is_told_to_its_team_without_a_word_of_the_user(
        self, guarded: World, clock: FrozenClock
    ) -> None:
        await give_a_case(guarded)
        await look(guarded, clock)
        ((channel, notice),) = [(channel, each) for channel, each in sender_of(guarded).sent if each.kind == "case"]
        assert (channel, notice.title) == ("boss", "A conversation waits for a person: support")
        assert "burnt" not in notice.body


async def give_a_case(world: World) -> None:
    """A conversation in which the agent gives up."""
    result = await world.say(await world.open(), "hello there")
    turn = await world.stored(result["id"])
    case = Escalation.of(turn, Handoff("the lamp burnt my house", "support"), {}, world.services.clock.micros())
    async with world.services.db.batch() as batch:
        world.services.escalations.open(batch, case)
        case_opened(world.services, batch, case)


class TestTheDatabase:
    async def test_that_does_not_answer_is_told_once_from_memory(
        self, world: World, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def down(*_: object, **__: object) -> None:
            raise StoreUnavailable("no answer")

        monkeypatch.setattr(AlertStore, "hold", down)
        for _ in range(10):
            with pytest.raises(StoreUnavailable):
                await alerting.watch(world.services)
            clock.advance(15)
        assert [(channel, each.title) for channel, each in sender_of(world).sent] == [
            ("ops", "[critical] the database of Handrail does not answer"),
            ("boss", "[critical] the database of Handrail does not answer"),
        ]


class TestTheFile:
    async def test_a_changed_one_holds_at_the_next_look_and_a_bad_one_changes_nothing_and_is_told_of(
        self, world: World, clock: FrozenClock, tmp_path: Path
    ) -> None:
        path = tmp_path / "alerts.yaml"
        path.write_text("rules: {job_failed: {enabled: false}}\nroutes: [{to: [ops]}]\n")
        world.services.alerts.config = AlertConfig(path, ("ops", "boss"))
        await fail_a_job(world)
        await look(world, clock, times=2)
        assert await world.services.alerts.store.list(None) == []
        path.write_text("rules: {job_failed: {severity: critical}}\nroutes: [{to: [boss]}]\n")
        await look(world, clock)
        assert [(channel, each.title) for channel, each in sender_of(world).sent] == [
            ("boss", "[critical] job failed of retention")
        ]
        path.write_text("rules: {job_failed: {severity: dreadful}}\n")
        await look(world, clock, times=8)
        assert world.services.alerts.config.problem is not None
        assert f"{path}:1: rules.job_failed.severity" in world.services.alerts.config.problem
        rules = {each.rule for each in await world.services.alerts.store.list(None, state="firing")}
        assert rules == {"job_failed", "dependency_down"}


def test_a_notice_is_known_by_what_it_is_about() -> None:
    one, same, other = (Notice.about("digest", "ops", "*", what, "t", "b").id for what in ("a", "a", "b"))
    assert one == same != other
