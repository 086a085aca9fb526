"""What operators see of jobs and may ask of them."""

import pytest

from handrail.core.errors import NotFound
from handrail.core.jobs import DEPLOYMENT, Task
from handrail.core.principal import Principal
from handrail.flows.job_desk import JobDesk
from handrail.flows.jobs import JOBS
from handrail.protection.audit import AuditQuery
from handrail.protection.auth import LOCAL_OPERATOR
from tests.flows.world import World

OPS = Principal("default", "ops")


def desk(world: World, who: Principal = OPS) -> JobDesk:
    return JobDesk(world.services.db, world.services.clock, who, world.services.audit)


class TestJobDesk:
    async def test_lists_every_job_with_its_next_time_before_anything_ran(self, world: World) -> None:
        listed = {job["name"]: job for job in await desk(world).list()}
        assert listed.keys() == JOBS.keys()
        assert listed["retention"]["next_run_at"] == "2026-01-01T03:20:00.000Z"
        assert listed["export_conversations"]["next_run_at"] is None
        assert all(job["last_run"] is None for job in listed.values())

    async def test_asks_for_a_run_in_the_name_of_who_asked(self, any_world: World) -> None:
        asked = await desk(any_world).run("export_conversations")
        assert (asked["status"], asked["requested_by"]) == ("waiting", "ops")
        (waiting,) = await any_world.services.background.outbox.waiting()
        assert (waiting.id, waiting.job, waiting.tenant_id) == (asked["id"], "export_conversations", "default")
        assert (await desk(any_world).show("export_conversations"))["runs"] == [asked]

    async def test_puts_who_asked_for_what_on_record(self, world: World) -> None:
        asked = await desk(world).run("export_conversations")
        found = await world.services.audit.store.search(AuditQuery("default", action="job.requested"))
        assert [each.target for each in found] == [f"run:{asked['id']}"]
        assert '"job":"export_conversations"' in found[0].body

    async def test_runs_what_is_the_deployment_s_for_the_deployment(self, world: World) -> None:
        await desk(world).run("retention")
        (waiting,) = await world.services.background.outbox.waiting()
        assert waiting.tenant_id == DEPLOYMENT

    async def test_shows_a_tenant_no_other_s_runs_nor_figures(self, world: World) -> None:
        await desk(world, Principal("evil", "eve")).run("export_conversations")
        assert (await desk(world).show("export_conversations"))["runs"] == []
        runs, task = world.services.background.runs, Task("sched-1", "retention", DEPLOYMENT)
        await runs.start(task)
        await runs.end(task, report={"evil": {"conversations": 3}, "default": {"conversations": 1}})
        (mine,) = (await desk(world).show("retention"))["runs"]
        assert mine["report"] == {"default": {"conversations": 1}}
        (all_of_it,) = (await desk(world, LOCAL_OPERATOR).show("retention"))["runs"]
        assert set(all_of_it["report"]) == {"evil", "default"}

    async def test_names_the_jobs_there_are(self, world: World) -> None:
        for ask in (desk(world).show, desk(world).run):
            with pytest.raises(NotFound, match=r"no job 'retentoin'; there are idempotency_keys, retention"):
                await ask("retentoin")

    async def test_a_turn_without_anything_to_ask_for_writes_no_row_of_the_outbox(self, world: World) -> None:
        await world.say(await world.open(), "hello there")
        assert not any("outbox" in write for commit in world.db.commits for write in commit)
