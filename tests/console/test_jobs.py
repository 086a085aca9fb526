"""The jobs page: what runs, how it went, and a form that works without scripts."""

import httpx2

from handrail.core.jobs import DEPLOYMENT, Task
from handrail.core.principal import Role
from tests.console.console import ORIGIN, Console

SAME_ORIGIN = {"sec-fetch-site": "same-origin", "origin": ORIGIN}


async def post(console: Console, name: str = "retention", headers: dict[str, str] = SAME_ORIGIN) -> httpx2.Response:
    return await console.client.post(f"/console/jobs/{name}", headers=headers)


class TestTheJobsPage:
    async def test_says_what_to_do_where_nothing_ran_and_jobs_are_off(self, console: Console) -> None:
        page = (await console.get("/console/jobs")).text
        assert "No run yet. Press the button, or wait for its time." in page
        assert "HANDRAIL_JOBS__ENABLED=true" in page
        assert "every day at 03:20 UTC" in page

    async def test_shows_how_the_last_run_went_and_why_it_failed(self, console: Console) -> None:
        runs, task = console.services.background.runs, Task("run-1", "retention", DEPLOYMENT)
        await runs.start(task)
        report = {"default": {"conversations": 12}}
        await runs.end(task, report=report, error_code="disk_error", error_message="<b>No space</b>")
        page = (await console.get("/console/jobs")).text
        assert "disk_error: &lt;b&gt;No space&lt;/b&gt;" in page
        assert "conversations: 12" in page

    async def test_asks_for_a_run_by_a_form_of_its_own(self, console: Console) -> None:
        answer = await post(console)
        assert (answer.status_code, answer.headers["location"]) == (303, "/console/jobs")
        (waiting,) = await console.services.background.outbox.waiting()
        assert waiting.job == "retention"

    async def test_refuses_a_form_of_another_site(self, console: Console) -> None:
        for headers in ({"sec-fetch-site": "cross-site"}, {}):
            assert (await post(console, headers=headers)).status_code == 403
        assert await console.services.background.outbox.waiting() == []

    async def test_shows_an_unknown_job_what_there_is(self, console: Console) -> None:
        answer = await post(console, "nothing")
        assert answer.status_code == 409
        assert "there is no job &#39;nothing&#39;" in answer.text

    async def test_is_nobody_s_once_keys_exist(self, console: Console) -> None:
        await console.services.keys.create(
            tenant_id="default", subject="ana", role=Role.END_USER, at=console.services.clock.micros(), scopes=[]
        )
        console.services.authenticator.forget()
        assert (await console.get("/console/jobs")).status_code == 401
        assert (await post(console)).status_code == 401
