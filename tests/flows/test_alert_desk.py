"""What staff see of alerts and do about them, and what nobody of another tenant does."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from handrail.core.clock import FrozenClock
from handrail.core.errors import NotFound, UsageError
from handrail.core.principal import Principal, Role
from handrail.flows.alert_desk import AlertConflict, AlertDesk, SilenceWanted, desk_of
from handrail.flows.alerting import watch
from handrail.flows.switches import breakers_of
from handrail.insight.alerts import Alert, AlertState, Finding, Notice, Rules, RuleState, look
from handrail.insight.alerts.lifecycle import Change
from handrail.protection.auth import LOCAL_OPERATOR, PermissionDenied
from handrail.protection.rate_limits import Rate, RateLimited, RateLimiter
from handrail.serving.resilience import model_key
from tests.flows.test_alerting import break_calls, fail_a_job, mend_the_job, sender_of
from tests.flows.test_alerting import look as looked
from tests.flows.world import World

OSCAR = Principal("default", "oscar", frozenset({Role.OPERATOR}))
EVE = Principal("other", "eve", frozenset({Role.OPERATOR}))


async def fire(world: World, tenant_id: str, rule: str = "job_failed", **labels: str) -> Alert:
    finding = Finding(rule, tenant_id, labels, "bad", "it is bad")
    after = look([], [finding], Rules(), world.services.clock.micros())[0].after
    assert after is not None
    async with world.services.db.batch() as batch:
        world.services.alerts.store.apply(batch, Change(None, after))
    return after


async def seen(desk: AlertDesk) -> list[str]:
    return [each["id"] for each in (await desk.list())["data"]]


class TestWhoSeesWhat:
    async def test_a_tenant_sees_its_own_and_those_of_the_deployment(self, any_world: World) -> None:
        mine = await fire(any_world, "default", job="a")
        theirs = await fire(any_world, "other", job="a")
        ours = await fire(any_world, "*", job="a")
        assert await seen(desk_of(any_world.services, OSCAR)) == [ours.id, mine.id]
        assert await seen(desk_of(any_world.services, EVE)) == [ours.id, theirs.id]
        assert await seen(desk_of(any_world.services, LOCAL_OPERATOR)) == [ours.id, theirs.id, mine.id]
        for work in (desk_of(any_world.services, EVE).show, desk_of(any_world.services, EVE).acknowledge):
            with pytest.raises(NotFound):
                await work(mine.id)

    async def test_what_another_tenant_s_tools_are_called_is_not_told(self, world: World) -> None:
        alert = await fire(world, "*", "dependency_down", kind="tool", name="shop/refund")
        assert await seen(desk_of(world.services, OSCAR)) == [alert.id]
        assert await seen(desk_of(world.services, EVE)) == []
        with pytest.raises(NotFound):
            await desk_of(world.services, EVE).show(alert.id)

    async def test_a_model_that_is_down_is_told_to_those_whose_release_asks_it(
        self, world: World, clock: FrozenClock
    ) -> None:
        client = world.release.models.tiers()[0].client
        break_calls(world, model_key(client.origin, client.model, "sk-1"))
        await looked(world, clock, times=2)
        (alert,) = await world.services.alerts.store.list(None)
        assert dict(alert.labels) == {"kind": "model", "name": f"{client.origin}/{client.model}"}
        assert await seen(desk_of(world.services, OSCAR)) == [alert.id]
        assert await seen(desk_of(world.services, EVE)) == []
        assert [each["kind"] for each in breakers_of(world.services, OSCAR)] == ["model"]
        assert breakers_of(world.services, EVE) == []

    async def test_nor_by_what_rules_say_and_who_was_told(self, world: World) -> None:
        alert = await fire(world, "*", "dependency_down", kind="tool", name="shop/refund")
        about = Notice.about("digest", "chat", "*", alert.id, "Handrail: shop/refund is down", "")
        notice = replace(about, alert_ids=(alert.id,))
        store, state = world.services.alerts.store, RuleState("*", "dependency_down", "bad", "tool shop/refund: open")
        async with world.services.db.batch() as batch:
            store.add_notice(batch, notice)
            store.say(batch, state, is_new=True)
        for reader, is_told in ((OSCAR, True), (EVE, False), (LOCAL_OPERATOR, True)):
            desk = desk_of(world.services, reader)
            assert ("shop/refund" in str(await desk.rules())) is is_told
            assert ("shop/refund" in str(await desk.notices())) is is_told

    async def test_a_silence_of_one_tenant_is_nothing_to_another(self, world: World) -> None:
        made = await desk_of(world.services, OSCAR).silence(SilenceWanted({"rule": "job_failed"}, 1, "known"))
        assert made["tenant"] == "default"
        assert await desk_of(world.services, EVE).silences() == []
        with pytest.raises(NotFound):
            await desk_of(world.services, EVE).end_silence(made["id"])
        everywhere = await desk_of(world.services, LOCAL_OPERATOR).silence(SilenceWanted({}, 1, "move"))
        assert everywhere["tenant"] is None
        with pytest.raises(NotFound):
            await desk_of(world.services, OSCAR).end_silence(everywhere["id"])


class TestWhatIsOfTheWholeDeployment:
    async def test_is_looked_after_by_the_operators_of_one_tenant_alone(self, any_world: World) -> None:
        alert = await fire(any_world, "*", job="a")
        desk = desk_of(any_world.services, EVE)
        with pytest.raises(PermissionDenied, match="operators of tenant 'default' look after it"):
            await desk.acknowledge(alert.id)
        with pytest.raises(PermissionDenied):
            await desk.test("ops")
        assert sender_of(any_world).sent == []
        any_world.services.alerts.operated_by = "other"
        assert (await desk.acknowledge(alert.id))["acknowledged_by"] == "eve"
        assert (await desk.test("ops"))["sent"]
        with pytest.raises(PermissionDenied):
            await desk_of(any_world.services, OSCAR).test("ops")
        assert (await desk_of(any_world.services, LOCAL_OPERATOR).test("ops"))["sent"]

    async def test_a_channel_is_not_flooded_with_tests(self, world: World) -> None:
        world.services.channel_tests = Rate(RateLimiter(world.services.clock, per_minute=1, burst=2))
        desk = desk_of(world.services, OSCAR)
        for _ in range(2):
            await desk.test("ops")
        with pytest.raises(RateLimited):
            await desk.test("ops")
        assert len(sender_of(world).sent) == 2


class TestAcknowledging:
    async def test_the_first_one_is_on_it_and_it_is_audited(self, any_world: World) -> None:
        alert = await fire(any_world, "default", job="a")
        desk = desk_of(any_world.services, OSCAR)
        body = await desk.acknowledge(alert.id, "looking at it")
        assert (body["acknowledged_by"], body["note"]) == ("oscar", "looking at it")
        again = await desk_of(any_world.services, LOCAL_OPERATOR).acknowledge(alert.id, "me too")
        assert again["acknowledged_by"] == "oscar"
        waiting, _ = await any_world.services.audit.store.waiting()
        actions = [body for _, body in await any_world.services.audit.store.unsealed(100)]
        assert waiting
        assert len([each for each in actions if "alert.acknowledged" in each]) == 1

    async def test_in_the_moment_of_a_look_both_are_kept(self, any_world: World, clock: FrozenClock) -> None:
        await fail_a_job(any_world)
        await looked(any_world, clock, times=2)
        (alert,) = await any_world.services.alerts.store.list(None)
        await desk_of(any_world.services, LOCAL_OPERATOR).acknowledge(alert.id)
        await mend_the_job(any_world, clock)
        await looked(any_world, clock, times=12)
        (alert,) = await any_world.services.alerts.store.list(None)
        assert (alert.state, alert.acknowledged_by) == (AlertState.RESOLVED, LOCAL_OPERATOR.subject)
        await any_world.services.audit.seal()
        await watch(any_world.services)

    async def test_what_is_over_can_not_be_acknowledged(self, world: World, clock: FrozenClock) -> None:
        await fail_a_job(world)
        await looked(world, clock)
        await mend_the_job(world, clock)
        await looked(world, clock, times=12)
        (alert,) = await world.services.alerts.store.list(None)
        with pytest.raises(AlertConflict):
            await desk_of(world.services, LOCAL_OPERATOR).acknowledge(alert.id)


@pytest.mark.parametrize(
    ("matchers", "hours", "reason", "starts"),
    [
        ({}, 0, "x", 0),
        ({}, 10_000, "x", 0),
        ({}, 1, "  ", 0),
        ({"rule": "nonsense"}, 1, "x", 0),
        ({}, 1, "x", -1),
        ({str(n): "x" for n in range(11)}, 1, "x", 0),
        ({}, float("nan"), "x", 0),
        ({}, float("inf"), "x", 0),
    ],
)
async def test_a_silence_that_makes_no_sense_is_refused(
    world: World, matchers: Mapping[str, str], hours: float, reason: str, starts: float
) -> None:
    with pytest.raises(UsageError):
        await desk_of(world.services, OSCAR).silence(SilenceWanted(matchers, hours, reason, starts))
    assert await world.services.alerts.store.silences() == []


async def test_planned_maintenance_begins_later(world: World, clock: FrozenClock) -> None:
    await desk_of(world.services, LOCAL_OPERATOR).silence(SilenceWanted({}, 1, "move", starts_in_hours=1))
    await fail_a_job(world)
    clock.advance(3700)
    await looked(world, clock, times=3)
    assert sender_of(world).sent == []
    clock.advance(3600)
    await looked(world, clock, times=2)
    assert len(sender_of(world).sent) == 2


async def test_an_alert_shows_who_was_told_and_where_to_look(world: World, clock: FrozenClock) -> None:
    await fail_a_job(world)
    await looked(world, clock, times=2)
    desk = desk_of(world.services, OSCAR)
    (alert,) = (await desk.list())["data"]
    shown = await desk.show(alert["id"])
    assert sorted((each["channel"], each["kind"], each["status"]) for each in shown["notices"]) == [
        ("boss", "firing", "sent"),
        ("ops", "firing", "sent"),
    ]
    assert shown["runbook"].endswith("#job_failed")


async def test_the_rules_say_what_they_said_last(world: World, clock: FrozenClock) -> None:
    await looked(world, clock)
    rules = {each["name"]: each for each in (await desk_of(world.services, OSCAR).rules())["data"]}
    assert rules["traffic_drop"]["states"][0]["said"] == "not enough history: 0 of 7 days"
    assert rules["error_rate"]["settings"] == {"above": 0.05, "times_usual": 2.0, "minimum_turns": 20}


async def test_a_test_message_says_what_went_wrong_and_an_unknown_channel_how_to_set_it(world: World) -> None:
    desk = desk_of(world.services, OSCAR)
    assert await desk.test("ops") == {"object": "alert_test", "channel": "ops", "sent": True, "error": None}
    sender_of(world).failing = {"ops"}
    assert (await desk.test("ops"))["error"] == "no answer"
    with pytest.raises(NotFound, match="HANDRAIL_ALERTS__CHANNELS__PAGER"):
        await desk.test("pager")
