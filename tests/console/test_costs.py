"""The page of costs, as a browser without scripts sees it."""

import csv
import io
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from itertools import count as count_from

import pytest

from handrail.core import json
from handrail.core.clock import FrozenClock, as_datetime
from handrail.core.prices import Budget
from handrail.core.usage import LOST
from handrail.flows.costs import budgets_now
from handrail.insight.alerts import AlertState, Finding, Rules, look
from handrail.insight.alerts.lifecycle import Change
from handrail.insight.feedback import FeedbackRules
from handrail.protection.audit import AuditQuery
from handrail.protection.auth import PermissionDenied
from tests.console.console import Console
from tests.console.test_dashboard import count
from tests.flows.test_feedback import RITA
from tests.written import ANSWERED, FAILED, Written

DEAR = replace(ANSWERED, costs=(3_000_000,), model="large")
DIED = replace(ANSWERED, costs=(None, 1_000_000), model="large", finish_reason=LOST)


@pytest.fixture
async def spent(console: Console) -> Console:
    """Two days of calls, some of unknown cost."""
    clock = FrozenClock(as_datetime(console.services.clock.micros()) - timedelta(days=2))
    written = Written(console.services.db, clock, agent="echo")
    for number, told in enumerate((ANSWERED, DEAR, FAILED, DIED)):
        made = await written.conversation(f"user-{number}", told)
        clock.advance(3600 * 5)
        if told is DEAR:
            await written.is_worth(made, 10_000_000)
    await count(console)
    return console


def row(page: str, heading: str, name: str) -> str:
    part = page.partition(f">{heading}</h2>")[2].partition("</section>")[0]
    return next(each for each in part.split("<tr>") if f">{name}<" in each)


class TestCosts:
    async def test_tells_an_empty_deployment_what_to_do(self, console: Console) -> None:
        page = (await console.get("/console/costs")).text
        assert "No model was called in this time." in page
        assert "HANDRAIL_COSTS__BUDGETS" in page
        assert "0.00 USD" in page

    async def test_shows_what_each_model_cost_and_what_nobody_knows_apart(self, spent: Console) -> None:
        page = (await spent.get("/console/costs")).text
        large = row(page, "By model", "large")
        assert "at least 4.00 USD" in large
        assert "1 without a known cost" in large
        assert 'data-label="Calls">3<' in large
        unknown = page.partition('id="unpriced"')[2].partition("</section>")[0]
        assert "p/m</a></h3><p>1 call: nobody knows its price." in unknown
        assert "HANDRAIL_COSTS__PRICES=&#39;{&#34;p/m&#34;" in unknown
        assert "p/large</a></h3><p>1 call: the process died while it waited." in unknown
        assert "happened=no_price%3Ap%2Fm" in unknown

    async def test_never_calls_an_unknown_cost_nothing(self, console: Console) -> None:
        clock = FrozenClock(as_datetime(console.services.clock.micros()) - timedelta(hours=2))
        await Written(console.services.db, clock, agent="echo").conversation("ana", FAILED)
        await count(console)
        page = (await console.get("/console/costs")).text
        assert "0.00 USD" not in page
        assert 'Spent</span><span class="value unknown">not known' in page
        assert "not known" in row(page, "By model", "m")
        body = json.loads((await console.get("/console/costs.json")).content)
        assert (body["cost_micros"], body["models"][0]["cost_micros"], body["unpriced_calls"]) == (None, None, 1)
        assert body["conversations"]["cost_per_conversation_micros"] is None

    async def test_keeps_its_choices_in_its_address_and_says_when_one_is_unknown(self, spent: Console) -> None:
        page = (await spent.get("/console/costs?range=28d&channel=openai")).text
        assert '<option value="28d" selected>' in page
        assert "No model was called in this time." in page
        nobody = await spent.get("/console/costs?agent=nobody")
        assert (nobody.status_code, "there is no agent &#39;nobody&#39;; there are: echo" in nobody.text) == (404, True)
        wrong = await spent.get("/console/costs?range=%3Cb%3E&agent=echo")
        assert wrong.status_code == 422
        assert "&lt;b&gt;" in wrong.text
        assert "<b>" not in wrong.text
        assert "<option selected>echo</option>" in wrong.text

    async def test_gives_every_table_as_csv_with_its_currency_and_all_of_it_as_json(self, spent: Console) -> None:
        body = json.loads((await spent.get("/console/costs.json")).content)
        assert (body["object"], body["currency"]) == ("costs", "USD")
        for table, many in (("time", 8), ("models", 2), ("agents", 1), ("releases", 1), ("intents", 1)):
            answer = await spent.get(f"/console/costs.csv?table={table}")
            rows = list(csv.DictReader(io.StringIO(answer.text)))
            assert len(rows) == many
            assert sum(int(each["cost_micros_usd"] or 0) for each in rows) == body["cost_micros"] == 4_000_100
            assert sum(int(each["calls"]) for each in rows) == body["calls"] == 5
        wrong = await spent.get("/console/costs.csv?table=users")
        assert wrong.status_code == 400
        assert "use one of time, models, agents, releases, intents" in wrong.text
        await spent.services.audit.flush()
        found = await spent.services.audit.store.search(AuditQuery("default", action="insight.exported"))
        assert {each.target for each in found} == {"insight:costs"}


class TestBudgets:
    async def test_say_what_is_spent_when_it_is_reached_and_what_fires(self, spent: Console) -> None:
        spent.services.budgets = (
            Budget(name="tiny", usd=Decimal(1), agent="echo"),
            Budget(name="huge", usd=Decimal(100_000)),
            Budget(name="of others", usd=Decimal(1), tenant="evil"),
        )
        # What was spent two days ago may have been in another month.
        now = FrozenClock(as_datetime(spent.services.clock.micros()))
        await Written(spent.services.db, now, agent="echo", _numbers=count_from(100)).conversation("late", DEAR)
        await count(spent)
        page = (await spent.get("/console/costs")).text
        tiny, huge = row(page, "Budgets", "tiny"), row(page, "Budgets", "huge")
        assert "echo, 1.00 USD a month" in tiny
        assert "at least " in tiny
        assert "since 20" in tiny
        assert "agent=echo" in tiny
        assert "not before 20" in huge
        assert "of others" not in page

    async def test_lead_to_the_alert_that_fires(self, spent: Console) -> None:
        spent.services.budgets = (Budget(name="tiny", usd=Decimal(1)),)
        finding = Finding("budget_spent", "default", {"budget": "tiny"}, "bad", "it is spent")
        alert = look([], [finding], Rules(), spent.services.clock.micros())[0].after
        assert alert is not None
        async with spent.services.db.batch() as batch:
            spent.services.alerts.store.apply(batch, Change(None, replace(alert, state=AlertState.FIRING)))
        page = (await spent.get("/console/costs")).text
        assert f'<a href="/console/alerts/{alert.id}">budget spent</a>' in row(page, "Budgets", "tiny")

    async def test_are_not_for_everybody(self, spent: Console) -> None:
        with pytest.raises(PermissionDenied):
            await budgets_now(spent.services, RITA, alerts=True)


class TestCurrencies:
    @pytest.mark.parametrize(
        ("rules", "shown"),
        [
            (FeedbackRules(), "6.00 USD"),
            (FeedbackRules(currency="EUR", usd=1.5), "11.00 USD"),
            (FeedbackRules(currency="EUR"), "not comparable"),
        ],
    )
    async def test_are_netted_only_where_somebody_says_the_rate(
        self, spent: Console, rules: FeedbackRules, shown: str
    ) -> None:
        spent.services.feedback_rules = rules
        page = (await spent.get("/console/costs")).text
        tile = page.partition("Value less cost")[2].partition("</a>")[0]
        assert shown in tile
        assert f"10.00 {rules.currency}" in tile
        assert ("set HANDRAIL_FEEDBACK__USD to what one EUR is in US dollars" in tile) == (shown == "not comparable")
        body = json.loads((await spent.get("/console/costs.json")).content)["value"]
        assert (body["currency"], body["net_micros"] is None) == (rules.currency, shown == "not comparable")
