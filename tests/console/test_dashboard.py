"""The dashboard, as a browser without scripts sees it, over what was really counted."""

import csv
import io
from decimal import Decimal

from handrail.console.access import Visitor
from handrail.core import json
from handrail.core.prices import Budget
from handrail.core.principal import Principal, Role
from handrail.flows.feedback import verify_hit
from handrail.flows.rollup import Windows, catch_up
from handrail.protection.audit import AuditQuery
from tests.console.console import Console
from tests.flows.test_feedback import RITA


async def count(console: Console) -> None:
    await catch_up(console.services, Windows(console.services).of)


class TestDashboard:
    async def test_tells_an_empty_deployment_what_to_do(self, console: Console) -> None:
        page = (await console.get("/console/dashboard")).text
        assert "No conversation in this time." in page
        assert "not measured yet" in page

    async def test_shows_what_was_counted_without_a_share_of_a_few(self, console: Console) -> None:
        for _ in range(2):
            await console.say("hello there")
        await count(console)
        page = (await console.get("/console/dashboard?range=24h")).text
        assert "2 pending" in page
        assert "Conversations by the hour" in page
        assert " %</span>" not in page.partition("Last 24 hours")[2].partition("Conversations by the hour")[0].replace(
            "0 of 2", ""
        )
        assert 'href="/console/conversations?range=24h' in page

    async def test_says_how_often_the_cache_was_wrong_once_reviewers_have_looked(self, console: Console) -> None:
        def tile(page: str) -> str:
            return " ".join(page.partition("False cache hits")[2].partition("</li>")[0].split())

        def metric() -> list[str]:
            lines = console.services.metrics.render().decode().splitlines()
            return [line for line in lines if line.startswith("cache_verifications_total{")]

        await console.say("hello there")
        await count(console)
        assert "not measured yet" in tile((await console.get("/console/dashboard")).text)
        assert metric() == []
        for number in range(25):
            await verify_hit(console.services, RITA, f"hit_{number}", correct=number >= 5)
        await verify_hit(console.services, RITA, "hit_24", correct=True)
        shown = tile((await console.get("/console/dashboard")).text)
        assert "20.0 %" in shown
        assert "5 of 25 that reviewers looked at, all agents" in shown
        assert sorted(metric()) == [
            'cache_verifications_total{correct="no"} 5.0',
            'cache_verifications_total{correct="yes"} 21.0',
        ]
        body = json.loads((await console.get("/console/dashboard.json")).content)
        assert (body["false_cache_hits"]["count"], body["false_cache_hits"]["n"]) == (5, 25)

    async def test_shows_figures_by_instructions_without_a_share_of_a_few(self, console: Console) -> None:
        for _ in range(2):
            await console.say("hello there")
        await count(console)
        part = (await console.get("/console/dashboard?range=24h")).text.partition("By instructions</h2>")[2]
        table = part.partition("</section>")[0]
        assert 'Turns">2</td><td data-label="Resolved">2 pending</td><td data-label="Failed">0 of 2</td>' in table
        assert "0 up, 0 down" in table

    async def test_keeps_its_choices_in_its_address_and_says_when_one_is_unknown(self, console: Console) -> None:
        page = (await console.get("/console/dashboard?range=28d&agent=echo")).text
        assert '<option value="28d" selected>' in page
        assert "<option selected>echo</option>" in page
        wrong = await console.get("/console/dashboard?range=%3Cb%3E")
        assert wrong.status_code == 422
        assert "&lt;b&gt;" in wrong.text
        assert "<b>" not in wrong.text

    async def test_gives_its_lines_as_csv_and_all_of_it_as_json(self, console: Console) -> None:
        await console.say("hello there")
        await count(console)
        answer = await console.get("/console/dashboard.csv?range=24h")
        rows = list(csv.DictReader(io.StringIO(answer.text)))
        assert "attachment" in answer.headers["content-disposition"]
        assert sum(int(row["conversations"]) for row in rows) == 1
        body = json.loads((await console.get("/console/dashboard.json?range=24h")).text)
        assert (body["object"], body["conversations"], body["pending"]) == ("dashboard", 1, 1)
        answer = await console.get("/console/dashboard.csv?range=24h&table=instructions")
        (row,) = csv.DictReader(io.StringIO(answer.text))
        (said,) = body["instructions"]
        assert (row["instructions"], row["agent"], row["turns"], row["resolved"]) == (said["hash"], "echo", "1", "0")
        assert "instructions.csv" in answer.headers["content-disposition"]

    async def test_names_the_tables_when_a_file_of_another_is_asked_for(self, console: Console) -> None:
        answer = await console.get("/console/dashboard.csv?table=users")
        assert answer.status_code == 400
        assert "use one of time, instructions" in answer.text
        await console.services.audit.flush()
        assert not await console.services.audit.store.search(AuditQuery("default", action="insight.exported"))

    async def test_tells_what_fires_and_what_is_spent_of_a_budget_to_those_who_may_know(self, console: Console) -> None:
        console.services.budgets = (
            Budget(name="shop", usd=Decimal(50), period="day"),
            Budget(name="of others", usd=Decimal(50), tenant="evil"),
        )
        page = (await console.get("/console/dashboard")).text
        assert "Alerts firing" in page
        assert "Budget shop" in page
        assert "of 50.00 USD a day" in page
        assert "of others" not in page
        viewer = Visitor(Principal("default", "vera", frozenset({Role.VIEWER})))
        assert (viewer.sees_alerts, viewer.sees_budgets) == (True, False)

    async def test_writes_down_who_took_figures_out(self, console: Console) -> None:
        await console.get("/console/dashboard.json")
        await console.services.audit.flush()
        found = await console.services.audit.store.search(AuditQuery("default", action="insight.exported"))
        assert len(found) == 1
