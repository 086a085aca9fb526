"""The dashboard, as a browser without scripts sees it, over what was really counted."""

import csv
import io
from datetime import timedelta
from decimal import Decimal

from handrail.console.access import Visitor
from handrail.core import json
from handrail.core.clock import FrozenClock, as_datetime
from handrail.core.prices import Budget
from handrail.core.principal import Principal, Role
from handrail.flows.feedback import verify_hit
from handrail.flows.rollup import Windows, catch_up
from handrail.flows.scorecard import scorecards
from handrail.protection.audit import AuditQuery
from tests.console.console import Console
from tests.flows.test_feedback import RITA
from tests.written import ANSWERED, FAILED, Written

OLGA = Principal("default", "olga", frozenset({Role.OPERATOR}))


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
        assert "5 of 25 of all agents that reviewers looked at, 8.9 to 39.1 %" in shown
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
        assert 'Turns">2</td><td data-label="Resolved">2 pending</td>' in table
        for shown, narrowed in (
            ("0 of 2", "happened=error"),
            ("0 up, 0 down", "thumbed"),
        ):
            (link,) = [each for each in table.split("<a ") if f">{shown}</a>" in each]
            assert narrowed in link

    async def test_shows_a_share_with_its_interval_and_what_it_is_of(self, console: Console) -> None:
        days_ago = FrozenClock(as_datetime(console.services.clock.micros()) - timedelta(days=2))
        written = Written(console.services.db, days_ago, agent="echo")
        for number in range(40):
            await written.conversation(f"user-{number}", FAILED if number < 10 else ANSWERED)
        await count(console)
        page = (await console.get("/console/dashboard?range=7d")).text
        assert "10 of 40 turns, 14.2 to 40.2\u00a0%" in page.partition("Turns that failed")[2].partition("</a>")[0]
        table = page.partition("By instructions</h2>")[2].partition("</section>")[0]
        assert (
            '<span class="quiet under">10 of 40 turns</span><span class="quiet under">14.2 to 40.2\u00a0%</span>'
            in table
        )

    async def test_stands_beside_the_newest_baseline_of_all_of_the_agent(self, console: Console) -> None:
        await console.say("hello there")
        await count(console)
        assert "baseline" not in (await console.get("/console/dashboard")).text
        desk = scorecards(console.services, OLGA)
        for share in (0.1, 0.25):
            measures = {"error_rate": {"value": share, "n": 400}, "csat": {"value": 4.1, "n": 300, "deviation": 0.9}}
            await desk.record_baseline("echo", measures=measures, note="by people <alone>")
        page = (await console.get("/console/dashboard?agent=echo")).text
        assert "baseline 25.0 %" in page.partition("Turns that failed")[2].partition("</a>")[0]
        assert "baseline 4.10" in page.partition("Satisfaction")[2].partition("</a>")[0]
        assert "Baseline 2 of echo (by people &lt;alone&gt;): before and after is not cause and effect." in page
        body = json.loads((await console.get("/console/dashboard.json")).text)
        assert (body["baseline"]["version"], body["baseline"]["currency"]) == (2, "USD")
        stable = await console.services.releases.stable("default", "echo")
        for narrowed in ("channel=openai", f"release_id={stable}"):
            body = json.loads((await console.get(f"/console/dashboard.json?{narrowed}")).text)
            assert body["baseline"] is None

    async def test_keeps_its_choices_in_its_address_and_says_when_one_is_unknown(self, console: Console) -> None:
        page = (await console.get("/console/dashboard?range=28d&agent=echo")).text
        assert '<option value="28d" selected>' in page
        assert "<option selected>echo</option>" in page
        wrong = await console.get("/console/dashboard?range=%3Cb%3E")
        assert wrong.status_code == 422
        assert "&lt;b&gt;" in wrong.text
        assert "<b>" not in wrong.text
        assert "These are the figures without it." in wrong.text

    async def test_tells_a_name_that_nothing_has_from_one_of_which_there_is_nothing(self, console: Console) -> None:
        await console.say("hello")
        misspelt = await console.get("/console/dashboard?agent=ecco")
        assert (misspelt.status_code, "there is no agent &#39;ecco&#39;; there are: echo." in misspelt.text) == (
            404,
            True,
        )
        assert (await console.get("/console/dashboard?channel=openai")).status_code == 200
        slip = await console.get("/console/dashboard?agnet=echo")
        assert (slip.status_code, "this page has no filter &#39;agnet&#39;" in slip.text) == (422, True)
        for file in ("csv", "json"):
            assert (await console.get(f"/console/dashboard.{file}?agent=ecco")).status_code == 404

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
