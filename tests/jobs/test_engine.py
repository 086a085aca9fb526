"""The engine on both databases: what was asked for runs, whatever happens to the process between two steps."""

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from dbos import _dbos, _workflow_commands

from handrail.core.errors import HandrailError
from handrail.core.jobs import DEPLOYMENT, Schedule, Task
from handrail.db import StoreUnavailable
from handrail.flows.jobs import Job
from handrail.flows.services import Services
from handrail.jobs import running_jobs
from handrail.jobs.durable import QUEUE, UNUSED_SECONDS
from handrail.settings import JobSettings, Settings
from handrail.telemetry.trace import current_trace_id, trace_named
from tests.jobs.engines import QUICK, Counter, ask, ended, engine_over, jobs_of, until


class TestARun:
    async def test_goes_through_its_pages_in_order_and_leaves_a_report(
        self, services: Services, tmp_path: Path, engine_url: str | None
    ) -> None:
        counter = Counter()
        async with engine_over(services, jobs_of(counter), tmp_path, engine_url):
            await ask(services, "run-1", colour="green")
            run = await ended(services, "run-1")

        assert counter.noted == [1, 2, 3]
        assert (run.status, run.attempts, run.report) == (
            "completed", 1, {DEPLOYMENT: {"pages": 3, "colour": "green"}},
        )  # fmt: skip

    async def test_that_is_handed_over_twice_runs_once(
        self, services: Services, tmp_path: Path, engine_url: str | None
    ) -> None:
        """As after a kill between handing over and noting it."""
        counter = Counter()
        async with engine_over(services, jobs_of(counter), tmp_path, engine_url) as engine:
            task = await ask(services, "run-1")
            durable = engine._durable  # pyright: ignore[reportPrivateUsage]
            assert durable is not None
            for _ in range(3):
                await engine._apart(durable.enqueue, task)  # pyright: ignore[reportPrivateUsage]
            await ended(services, "run-1")
            await asyncio.sleep(1.5)

        assert counter.noted == [1, 2, 3]
        assert await services.background.outbox.waiting() == []

    async def test_that_is_cut_short_goes_on_with_the_page_it_was_in(
        self, services: Services, tmp_path: Path, engine_url: str | None
    ) -> None:
        counter = Counter()
        counter.before = lambda page: asyncio.sleep(60) if page == 2 else None
        async with engine_over(services, jobs_of(counter), tmp_path, engine_url):
            await ask(services, "run-1")
            await until(lambda: counter.noted == [1, 2])
        assert (await services.background.runs.find("run-1")).status == "running"  # pyright: ignore[reportOptionalMemberAccess]

        counter.before = lambda page: None
        async with engine_over(services, jobs_of(counter), tmp_path, engine_url):
            run = await ended(services, "run-1")
        assert counter.noted == [1, 2, 2, 3]
        assert run.status == "completed"


def failing(error: Exception, times: int = 1000) -> tuple[dict[str, Job], list[int]]:
    tries: list[int] = []

    async def page(services: Services, task: Task, state: Mapping[str, Any]) -> Mapping[str, Any]:
        tries.append(len(tries))
        if len(tries) <= times:
            raise error
        return {"done": True}

    return {"count": Job("count", "Fail.", page)}, tries


class SecretProblem(Exception):
    """What nobody foresaw."""


class NoUse(HandrailError):
    code = "no_use"


@pytest.mark.parametrize("engine_url", [None])
async def test_the_lines_of_a_run_carry_one_trace_of_its_own(services: Services, tmp_path: Path) -> None:
    seen: list[str | None] = []

    async def page(services: Services, task: Task, state: Mapping[str, Any]) -> Mapping[str, Any]:
        seen.append(current_trace_id())
        return {"done": len(seen) % 2 == 0}

    async with engine_over(services, {"count": Job("count", "Count.", page)}, tmp_path):
        for each in ("run-1", "run-2"):
            await ask(services, each)
            await ended(services, each)
    assert seen == [trace_named(each).trace_id for each in ("run-1", "run-1", "run-2", "run-2")]


@pytest.mark.parametrize("engine_url", [None])
class TestAPageThatFails:
    async def test_for_an_unknown_reason_ends_the_run_and_tells_no_secret(
        self, services: Services, tmp_path: Path
    ) -> None:
        jobs, tries = failing(SecretProblem("the password is plum"))
        async with engine_over(services, jobs, tmp_path):
            await ask(services, "run-1")
            run = await ended(services, "run-1")
        assert (run.status, run.error_code, len(tries)) == ("failed", "internal", 1)
        assert "plum" not in str(run)
        assert b'job_runs_total{job="count",status="failed"} 1.0' in services.metrics.render()

    async def test_for_want_of_the_store_is_tried_again(self, services: Services, tmp_path: Path) -> None:
        jobs, tries = failing(StoreUnavailable("the disk is full"), times=1)
        async with engine_over(services, jobs, tmp_path):
            await ask(services, "run-1")
            run = await ended(services, "run-1")
        assert (run.status, len(tries)) == ("completed", 2)

    async def test_for_a_reason_that_stays_is_not_tried_again(self, services: Services, tmp_path: Path) -> None:
        jobs, tries = failing(NoUse("there is no such thing"))
        async with engine_over(services, jobs, tmp_path):
            await ask(services, "run-1")
            run = await ended(services, "run-1")
        assert (run.error_code, run.error_message, len(tries)) == ("no_use", "there is no such thing", 1)

    async def test_on_the_disk_names_the_file(self, services: Services, tmp_path: Path) -> None:
        jobs, _ = failing(OSError(28, "No space left on device", "exports/x.jsonl"))
        async with engine_over(services, jobs, tmp_path):
            await ask(services, "run-1")
            run = await ended(services, "run-1")
        assert run.error_code == "disk_error"
        assert "No space left on device ('exports/x.jsonl')" in str(run.error_message)

    async def test_because_this_version_has_no_such_job_says_so(self, services: Services, tmp_path: Path) -> None:
        async with engine_over(services, {}, tmp_path):
            await ask(services, "run-1")
            run = await ended(services, "run-1")
        assert run.error_code == "unknown_job"


class TestSchedules:
    async def test_whose_time_came_while_nothing_ran_fire_once_at_the_start(
        self, services: Services, tmp_path: Path, engine_url: str | None
    ) -> None:
        counter = Counter(pages=1)
        jobs = jobs_of(counter, Schedule(minute=0, hour=0))
        for _ in range(2):
            async with engine_over(services, jobs, tmp_path, engine_url) as engine:
                await until(lambda: counter.noted == [1])
                await engine.catch_up()
                await asyncio.sleep(0.3)
        assert counter.noted == [1]

    async def test_fire_by_themselves(self, services: Services, tmp_path: Path, engine_url: str | None) -> None:
        """Once a second, as no schedule of ours does, so that the test need not wait."""

        class EverySecond(Schedule):
            cron = "* * * * * *"  # pyright: ignore[reportAssignmentType]

        counter = Counter(pages=1)
        jobs = jobs_of(counter, EverySecond(minute=0, hour=0))
        async with engine_over(services, jobs, tmp_path, engine_url):
            await until(lambda: len(counter.noted) >= 3)
        runs = await services.background.runs.newest("anybody", "count", limit=10)
        assert len({run.id for run in runs if run.id.startswith("sched-count-")}) >= 2


@pytest.mark.parametrize("engine_url", [None])
class TestRetention:
    async def test_forgets_runs_that_ended_long_ago_and_no_others(self, services: Services, tmp_path: Path) -> None:
        counter = Counter(pages=1)
        async with engine_over(services, jobs_of(counter), tmp_path) as engine:
            for number in range(3):
                await ask(services, f"run-{number}")
                await ended(services, f"run-{number}")
            # `end` is noted in our own table a moment before the engine's row says so.
            await asyncio.sleep(0.3)
            assert await engine.forget_finished(days=1) == 0
            assert await engine.forget_finished(days=-1) == 3
            assert await engine.forget_finished(days=-1) == 0


@pytest.mark.parametrize("engine_url", [None])
async def test_the_engine_s_file_is_for_the_service_s_own_user_alone(services: Services, tmp_path: Path) -> None:
    async with engine_over(services, {}, tmp_path):
        modes = {name: os.stat(tmp_path / name).st_mode & 0o777 for name in ("jobs.db", "jobs.db-wal", "jobs.db-shm")}
    assert set(modes.values()) == {0o600}, modes


@pytest.mark.parametrize("engine_url", [None])
async def test_what_the_engine_has_no_setting_for_is_still_where_it_is_set(services: Services, tmp_path: Path) -> None:
    """Private names of DBOS: when a new version has moved them, an idle server is busier again and nothing else."""
    async with engine_over(services, {}, tmp_path):
        queue = _dbos._get_dbos_instance()._registry.get_internal_queue()  # pyright: ignore[reportPrivateUsage]
        assert queue.polling_interval_sec == QUICK.poll
        read_at_launch = _workflow_commands.background_jobs_thread.__code__.co_names
        assert "_BACKGROUND_JOBS_INTERVAL_SEC" in read_at_launch
        assert _workflow_commands._BACKGROUND_JOBS_INTERVAL_SEC == UNUSED_SECONDS  # pyright: ignore[reportPrivateUsage]
        known = _dbos._get_dbos_instance()._sys_db.list_queues  # pyright: ignore[reportPrivateUsage]
        assert [each.name for each in known(application_name="handrail")] == [QUEUE]
        assert known(application_name="nobody") == known(application_name="handrail")


@pytest.mark.parametrize("engine_url", [None])
class TestOff:
    async def test_nothing_is_loaded_and_what_is_asked_for_waits(self, services: Services, tmp_path: Path) -> None:
        settings = Settings(data_dir=tmp_path, jobs=JobSettings(enabled=False))
        async with running_jobs(services, settings):
            await ask(services, "run-1")
            assert services.background.engine.state == "off"
        assert not (tmp_path / "jobs.db").exists()
        assert [task.id for task in await services.background.outbox.waiting()] == ["run-1"]


@pytest.mark.parametrize("engine_url", [None])
class TestAnEngineThatCanNotStart:
    async def test_says_why_and_lets_the_process_go_on(self, services: Services, tmp_path: Path) -> None:
        (tmp_path / "jobs.db").mkdir()
        async with running_jobs(services, Settings(data_dir=tmp_path)):
            engine = services.background.engine
            await until(lambda: engine.state.startswith("not running: the background engine can't start"))
            assert await engine.forget_finished(days=1) == 0
