"""What is asked of the engine and what became of it, on both databases."""

import pytest

from handrail.core.clock import FrozenClock
from handrail.core.jobs import DEPLOYMENT, Task
from handrail.db import Conflict, Database
from handrail.db.jobs import Executors, JobRuns, Outbox

TASK = Task("run-1", "retention", "default", {"days": 3})
DAY = 24 * 3600


class TestOutbox:
    async def test_holds_what_a_batch_committed_until_it_is_sent(self, db: Database) -> None:
        outbox = Outbox(db)
        async with db.batch() as batch:
            outbox.ask(batch, TASK)
        assert await outbox.waiting() == [TASK]
        await outbox.mark_sent([TASK])
        assert await outbox.waiting() == []

    async def test_holds_nothing_of_a_batch_that_was_undone(self, db: Database) -> None:
        outbox, runs = Outbox(db), JobRuns(db)
        async with db.batch() as batch:
            runs.add(batch, TASK, requested_by=None)

        async def ask_and_note() -> None:
            async with db.batch() as batch:
                outbox.ask(batch, TASK)
                runs.add(batch, TASK, requested_by=None)

        with pytest.raises(Conflict):
            await ask_and_note()
        assert await outbox.waiting() == []

    async def test_refuses_the_same_id_twice(self, db: Database) -> None:
        outbox = Outbox(db)
        async with db.batch() as batch:
            outbox.ask(batch, TASK)
        with pytest.raises(Conflict):
            async with db.batch() as batch:
                outbox.ask(batch, TASK)

    async def test_forgets_what_was_sent_long_ago_and_keeps_what_waits(self, db: Database, clock: FrozenClock) -> None:
        outbox = Outbox(db)
        waits = Task("run-2", "retention", "default")
        async with db.batch() as batch:
            outbox.ask(batch, TASK)
            outbox.ask(batch, waits)
        await outbox.mark_sent([TASK])
        clock.advance(8 * DAY)
        async with db.batch() as batch:
            outbox.forget_sent(batch, days=7)
        assert await outbox.waiting() == [waits]
        async with db.batch() as batch:
            outbox.ask(batch, TASK)


class TestJobRuns:
    async def test_note_each_beginning_and_the_end_once(self, db: Database, clock: FrozenClock) -> None:
        runs = JobRuns(db)
        async with db.batch() as batch:
            runs.add(batch, TASK, requested_by="ops")
        await runs.start(TASK)
        clock.advance(5)
        await runs.start(TASK)
        await runs.end(TASK, report={"default": {"deleted": 2}})
        await runs.end(TASK, report={}, error_code="internal", error_message="late")
        await runs.start(TASK)

        run = await runs.find("run-1")
        assert run is not None
        assert (run.status, run.attempts, run.requested_by, run.report) == (
            "completed", 2, "ops", {"default": {"deleted": 2}},
        )  # fmt: skip
        assert run.error_code is None

    async def test_of_a_schedule_are_there_from_their_beginning_on(self, db: Database) -> None:
        runs = JobRuns(db)
        task = Task("sched-1", "retention", DEPLOYMENT)
        await runs.start(task)
        assert [run.id for run in await runs.newest("anybody", "retention")] == ["sched-1"]

    async def test_are_seen_by_their_tenant_and_those_of_the_deployment_by_all(
        self, db: Database, clock: FrozenClock
    ) -> None:
        runs = JobRuns(db)
        for number, tenant in enumerate(("default", "evil", DEPLOYMENT)):
            clock.advance(1)
            async with db.batch() as batch:
                runs.add(batch, Task(f"run-{number}", "export", tenant), requested_by=None)
        assert [run.id for run in await runs.newest("default", "export", limit=9)] == ["run-2", "run-0"]
        assert [run.id for run in await runs.newest("evil", "export", limit=9)] == ["run-2", "run-1"]

    async def test_show_each_tenant_its_own_part(self, db: Database) -> None:
        runs = JobRuns(db)
        await runs.start(TASK)
        await runs.end(TASK, report={"default": {"deleted": 2}, "evil": {"deleted": 7}})
        run = await runs.find("run-1")
        assert run is not None
        assert run.body("evil")["report"] == {"evil": {"deleted": 7}}
        assert run.body("nobody")["report"] == {}
        assert set(run.body(None)["report"]) == {"default", "evil"}

    async def test_are_forgotten_some_days_after_their_end(self, db: Database, clock: FrozenClock) -> None:
        runs = JobRuns(db)
        await runs.start(TASK)
        await runs.start(Task("run-2", "retention", DEPLOYMENT))
        await runs.end(TASK, report={})
        clock.advance(31 * DAY)
        async with db.batch() as batch:
            runs.forget_ended(batch, days=30)
        assert await runs.find("run-1") is None
        assert await runs.find("run-2") is not None


class TestExecutors:
    async def test_live_as_long_as_they_say_so(self, db: Database, clock: FrozenClock) -> None:
        executors = Executors(db)
        await executors.beat("a", "p1")
        clock.advance(10)
        await executors.beat("b", "p1")
        assert await executors.alive(within_seconds=15) == {"a", "b"}
        clock.advance(10)
        assert await executors.alive(within_seconds=15) == {"b"}
        await executors.beat("a", "p1")
        await executors.leave("b")
        assert await executors.alive(within_seconds=15) == {"a"}

    async def test_dead_ones_are_forgotten(self, db: Database, clock: FrozenClock) -> None:
        executors = Executors(db)
        await executors.beat("a", "p1")
        clock.advance(2 * DAY)
        async with db.batch() as batch:
            executors.forget_dead(batch)
        assert await executors.alive(within_seconds=10 * DAY) == set()
