"""Places for turns: who is let in, who waits, who is refused, and that nothing is stored for who is."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from handrail.core.clock import FrozenClock
from handrail.db import Database
from handrail.flows.leases import sweep
from handrail.flows.shutdown import drain
from handrail.protection.guardrails import InvalidMessage
from handrail.serving.conversations import TurnStatus
from handrail.serving.models import Reply, calls
from handrail.serving.resilience import AdmissionClosed, AdmissionLimits, Overloaded, TenantOverloaded
from tests.flows.desk import Desk
from tests.flows.world import PROJECT, World, closed, until, world_over

ONE = AdmissionLimits(running=1, running_per_tenant=1, waiting=0, waiting_per_tenant=0)
SLOWLY = Reply(text="one two three", piece=4, gap_seconds=30)


@pytest.fixture
async def small(sqlite_db: Database, clock: FrozenClock, desk: Desk) -> AsyncIterator[World]:
    """One place, and nobody may wait for it."""
    made = await world_over(sqlite_db, clock, admission=ONE)
    yield made
    await closed(made)


class TestAPlace:
    async def test_is_held_while_the_turn_runs_and_free_after_it(self, small: World):
        await small.say(await small.open(), "hello")
        await until(lambda: small.services.admission.running == 0)
        assert (await small.say(await small.open(), "hello again"))["status"] == "completed"

    async def test_is_given_back_when_the_message_is_refused(self, small: World):
        with pytest.raises(InvalidMessage):
            await small.send(await small.open(), "")
        assert small.services.admission.running == 0

    async def test_is_given_back_when_the_turn_fails(self, small: World):
        small.script(lambda _: ZeroDivisionError())
        assert (await small.say(await small.open(), "hello"))["status"] == "failed"
        await until(lambda: small.services.admission.running == 0)

    async def test_is_not_held_by_a_turn_that_waits_for_people(
        self, sqlite_db: Database, clock: FrozenClock, desk: Desk
    ):
        rules = "approvals:\n- {name: mail, tools: [send_mail], when: 'true', approvers: {roles: [approver]}}\n"
        project = {**PROJECT, "policies.yaml": PROJECT["policies.yaml"] + rules}
        world = await world_over(sqlite_db, clock, admission=ONE, project=project)
        world.script(calls(("send_mail", {"text": "hi"})))
        assert (await world.say(await world.open(), "write to me"))["status"] == "requires_action"
        await until(lambda: world.services.admission.running == 0)
        await closed(world)


class TestAFullServer:
    async def test_refuses_and_stores_nothing(self, small: World):
        running, other = await small.open(), await small.open()
        small.script(SLOWLY)
        await small.send(running, "count")
        commits = len(small.db.commits)
        with pytest.raises(Overloaded) as refused:
            await small.send(other, "hello")
        assert refused.value.retry_after_seconds is not None
        assert refused.value.retry_after_seconds >= 1
        assert len(small.db.commits) == commits
        assert "handrail_admission_refused_total" in small.services.metrics.render().decode()

    async def test_tells_a_tenant_that_it_has_all_it_may_have(
        self, sqlite_db: Database, clock: FrozenClock, desk: Desk
    ):
        limits = AdmissionLimits(running=5, running_per_tenant=1, waiting=5, waiting_per_tenant=0)
        world = await world_over(sqlite_db, clock, admission=limits)
        world.script(SLOWLY)
        await world.send(await world.open(), "count")
        with pytest.raises(TenantOverloaded, match="1 turns of this tenant run and 0 wait"):
            await world.send(await world.open(), "hello")
        await closed(world)

    async def test_lets_in_who_waits_when_a_turn_ends(self, sqlite_db: Database, clock: FrozenClock, desk: Desk):
        limits = AdmissionLimits(running=1, running_per_tenant=1, waiting=1, waiting_per_tenant=1)
        world = await world_over(sqlite_db, clock, admission=limits)
        world.script(Reply(text="done", delay_seconds=0.1), repeats=True)
        first, second = await world.open(), await world.open()
        both = await asyncio.gather(world.say(first, "hello"), world.say(second, "hello"))
        assert [each["status"] for each in both] == ["completed"] * 2
        await closed(world)

    async def test_runs_what_waits_in_a_conversation_it_has_let_in(
        self, sqlite_db: Database, clock: FrozenClock, desk: Desk
    ):
        limits = AdmissionLimits(running=2, running_per_tenant=2, waiting=0, waiting_per_tenant=0)
        world = await world_over(sqlite_db, clock, admission=limits)
        conversation = await world.open()
        world.script(Reply(text="first", delay_seconds=0.2), SLOWLY, "second")
        await world.send(conversation, "hello")
        queued = await world.send(conversation, "and then?")
        assert world.services.admission.running == 1, "a turn that waits in its conversation's line holds no place"
        await world.send(await world.open(), "count")
        with pytest.raises(Overloaded):
            await world.send(await world.open(), "hello")
        assert (await asyncio.wait_for(queued.wait(), 5))["message"]["content"] == "second"
        await closed(world)

    async def test_never_refuses_a_turn_that_goes_on(self, small: World, sqlite_db: Database, clock: FrozenClock):
        another = await world_over(sqlite_db, clock)
        another.script(SLOWLY)
        stream = await another.send(await another.open(), "count")
        small.script(SLOWLY, SLOWLY)
        await small.send(await small.open(), "count")
        await drain(another.services, 0.01)
        await sweep(small.services)
        assert stream.turn_id in small.services.running
        assert small.services.admission.running == 2
        with pytest.raises(Overloaded):
            await small.send(await small.open(), "hello")
        await closed(another)


class TestShuttingDown:
    async def test_sends_away_who_waits_and_says_when_to_come_back(
        self, sqlite_db: Database, clock: FrozenClock, desk: Desk
    ):
        limits = AdmissionLimits(running=1, running_per_tenant=1, waiting=9, waiting_per_tenant=9, wait_seconds=60)
        world = await world_over(sqlite_db, clock, admission=limits)
        world.script(Reply(text="done", delay_seconds=0.1))
        first = await world.send(await world.open(), "hello")
        waiting = asyncio.create_task(world.send(await world.open(), "hello"))
        await until(lambda: world.services.admission.waiting == 1)
        await drain(world.services, 5)
        with pytest.raises(AdmissionClosed) as refused:
            await waiting
        assert (refused.value.code, refused.value.retry_after_seconds) == ("shutting_down", 5.0)
        assert (await first.wait())["status"] == "completed"
        await closed(world)

    async def test_waits_for_a_turn_that_is_just_being_stored(self, world: World):
        conversation = await world.open()
        storing = asyncio.Event()

        async def slowly(writes: list[str]) -> None:
            if "insert turn" in writes:
                storing.set()
                await asyncio.sleep(0.1)

        world.db.before_commit = slowly
        sending = asyncio.create_task(world.send(conversation, "hello"))
        await storing.wait()
        await drain(world.services, 5)
        stream = await sending
        assert (await world.stored(stream.turn_id)).status is TurnStatus.COMPLETED
