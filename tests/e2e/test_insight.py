"""Journeys over simulated days: of the product owner from a number to a turn, of who is on call from an alert to its
end, and of what a user says to whoever reads it. One server for all, and every page without a finding of axe."""

import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.e2e.browsers import PHONE, Visitor
from tests.e2e.servers import LiveShop
from tests.integration.processes import run

pytestmark = [pytest.mark.browser, pytest.mark.slow]

PLACES = (
    "dashboard?range=28d", "dashboard?channel=openai", "dashboard?intent=nothing", "costs?range=28d",
    "costs?channel=openai", "conversations",
    "conversations?happened=error&closed=1", "conversations/search?q=blanket", "scorecard?days=28", "alerts",
    "feedback", "approvals", "switches", "jobs", "status", "account", "runbook",
)  # fmt: skip
LOOKS = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "phone": {"viewport": PHONE, "has_touch": True, "is_mobile": True},
}


@pytest.fixture(scope="module")
def live_shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveShop]:
    """Two days in which made-up users talked; the alerts, rollups and traces of it are there."""
    folder = tmp_path_factory.mktemp("simulated")
    done = run("simulate", "--seed", "3", "--conversations", "40", home=folder)
    assert done.returncode == 0, done.stderr
    spend_a_dollar_today(folder / "data" / "handrail.db")
    settings = {
        "HANDRAIL_FEEDBACK__CSAT": "true",
        "HANDRAIL_ALERTS__EVERY_SECONDS": "1",
        "HANDRAIL_COSTS__BUDGETS": '[{"name": "tiny", "usd": 0.01}]',
    }
    shop = LiveShop(folder / "data", folder / "server.log", settings=settings).start()
    try:
        yield shop
    finally:
        shop.stop()


def spend_a_dollar_today(file: Path) -> None:
    """As a sum of turns: on the first of a month nothing of the simulated days may be in it."""
    with closing(sqlite3.connect(file, timeout=30)) as database, database:
        names = [row[1] for row in database.execute("PRAGMA table_info(turn_rollup)")]
        day = 86_400_000_000
        today = {"tenant_id": "default", "grain": "day", "starts_at": time.time_ns() // 1000 // day * day}
        told = today | {"agent": "shop", "cost_micros": 1_000_000, "latencies": "{}"}
        keys = ("release_id", "intent", "channel", "latency_class")
        values = [told.get(name, "" if name in keys else 0) for name in names]
        database.execute(f"INSERT INTO turn_rollup VALUES ({', '.join('?' * len(names))})", values)


def assert_accessible(page: Page) -> None:
    found = Axe().run(page).response["violations"]
    assert found == [], (page.url, [(each["id"], [node["html"] for node in each["nodes"]]) for each in found])


def assert_fits(page: Page) -> None:
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= page.evaluate("window.innerWidth"), (page.url, width)
    hidden = page.evaluate(
        "[...document.querySelectorAll('.places a')].filter(each => {"
        " const box = each.getBoundingClientRect(), all = each.parentElement.getBoundingClientRect();"
        " return box.left < all.left - 1 || box.right > all.right + 1 }).map(each => each.textContent)"
    )
    assert hidden == [], (page.url, hidden)


class TestFromANumber:
    def test_to_the_conversations_behind_it_and_what_happened_in_one(self, visitor: Visitor):
        page = visitor.open("/console/dashboard?range=28d")
        expect(page.get_by_role("img", name="Conversations by the day")).to_be_visible()
        tile = page.locator("a.tile", has_text="Conversations").first
        number = tile.locator(".value").inner_text()
        tile.click()
        expect(page.get_by_role("heading", name="Conversations", exact=True)).to_be_visible()
        expect(page.locator("#total")).to_contain_text(f"{number} conversations with")
        page.get_by_role("table").get_by_role("link").first.click()
        expect(page.get_by_role("heading", name="Turn 1", exact=False)).to_be_visible()
        # Of a conversation of many turns they are closed at first.
        page.locator("details", has_text="What happened when").first.evaluate("each => each.open = true")
        expect(page.get_by_text("invoke_agent shop").first).to_be_visible()
        assert_accessible(page)

    def test_a_chart_is_a_table_too_and_leads_to_the_conversations_of_a_day(self, visitor: Visitor):
        page = visitor.open("/console/dashboard?range=28d")
        page.get_by_text("Show as a table").first.click()
        table = page.get_by_role("group", name="Conversations by the day, as a table")
        expect(table.get_by_role("columnheader", name="Time (UTC)")).to_be_visible()
        day = table.get_by_role("row").last
        number = day.get_by_role("cell").first.inner_text()
        day.get_by_role("link").click()
        expect(page.locator("#total")).to_contain_text(f"{number} conversation")

    def test_a_filter_stays_in_the_address(self, visitor: Visitor):
        page = visitor.open("/console/conversations?closed=1")
        page.get_by_label("Outcome").select_option("rated")
        page.get_by_role("button", name="Show").click()
        assert "outcome=rated" in page.url
        assert "closed=1" in page.url
        expect(page.get_by_label("Outcome")).to_have_value("rated")
        page.get_by_role("link", name="leave out only those whose window is over").click()
        assert "closed=1" not in page.url
        assert "outcome=rated" in page.url


class TestCosts:
    def test_lead_from_a_model_to_the_conversations_in_which_it_was_called(self, visitor: Visitor):
        page = visitor.open("/console/costs?range=28d")
        expect(page.get_by_role("img", name="Spent by the day, USD")).to_be_visible()
        line = page.get_by_role("group", name="By model").get_by_role("row").nth(1)
        calls = line.locator("td[data-label=Calls]").inner_text().split()[0]
        line.get_by_role("link").click()
        expect(page.locator("#total")).to_contain_text(f"it happened {calls} time")
        expect(page.locator("#total")).to_contain_text("USD of cost")
        page.get_by_role("table").get_by_role("link").first.click()
        expect(page.get_by_role("heading", name="Turn 1", exact=False)).to_be_visible()

    def test_lead_from_a_budget_to_its_alert_and_what_to_do(self, visitor: Visitor):
        page = visitor.open("/console/costs")
        budget = page.get_by_role("group", name="Budgets").get_by_role("row", name="tiny")
        expect(budget).to_contain_text("since 20")
        for _ in range(30):
            # The rules are looked at once a second, budgets once a minute.
            if budget.get_by_role("link", name="budget spent").count():
                break
            page.wait_for_timeout(1000)
            page.reload()
        budget.get_by_role("link", name="budget spent").click()
        expect(page.get_by_text("of 0.01 USD is spent")).to_be_visible()
        expect(page.get_by_role("link", name="What to do about budget spent")).to_be_visible()


class TestScorecard:
    def test_keeps_a_baseline_and_compares_with_it(self, visitor: Visitor):
        page = visitor.open("/console/scorecard?days=7")
        page.get_by_label("Note").fill("before the new instructions")
        page.get_by_role("button", name="Keep the last 7 days as a baseline").click()
        expect(page.get_by_text("measured by demo-operator: before the new instructions")).to_be_visible()
        row = page.get_by_role("row").filter(has_text="Task completion")
        expect(row.locator(".under", has_text="was ")).to_be_visible()
        sample = row.get_by_role("link").first
        number = re.sub(r"\D", "", sample.inner_text())
        sample.click()
        expect(page.locator("#total")).to_contain_text(f"{number} conversation")


class TestFeedback:
    def test_of_a_user_is_read_beside_the_turn_it_is_about(self, visitor: Visitor):
        chat = visitor.open("/console/chat")
        chat.clock.install()
        chat.get_by_label("Your message").fill("where is my order A1001?")
        chat.get_by_role("button", name="Send", exact=True).click()
        turn = chat.locator(".turn[data-turn]").last
        expect(turn.locator(".answer")).not_to_have_attribute("data-status", "running")
        turn.get_by_role("button", name="Not helpful").click()
        expect(turn.get_by_role("button", name="Not helpful")).to_have_attribute("aria-pressed", "true")
        turn.get_by_text("Comment", exact=True).click()
        turn.get_by_label("Comment on this answer").fill("I asked about another order")
        turn.get_by_role("button", name="Send comment").click()
        expect(turn.get_by_text("Thank you")).to_be_visible()
        rating = chat.get_by_role("group", name="How satisfied are you with this conversation?")
        expect(rating).to_be_hidden()
        chat.clock.fast_forward(31_000)
        rating.get_by_role("button", name="2 of 5").click()
        expect(rating.get_by_role("button", name="2 of 5")).to_have_attribute("aria-pressed", "true")

        desk = visitor.open("/console/feedback")
        expect(desk.get_by_role("row").filter(has_text="Satisfaction 2 of 5").first).to_be_visible()
        expect(desk.get_by_role("row").filter(has_text="Thumbs down").first).to_be_visible()
        desk.get_by_role("row").filter(has_text="I asked about another order").get_by_role("link").click()
        assert f"#{turn.get_attribute('data-turn')}" in desk.url
        expect(desk.get_by_label("Said of this turn")).to_contain_text("I asked about another order")
        expect(desk.get_by_label("Said of this conversation")).to_contain_text("Satisfaction 2 of 5")
        desk.get_by_role("link", name="Say something of turn 1").click()
        desk.get_by_label("Kind", exact=True).select_option("text")
        desk.get_by_label("Comment").fill("called the user back")
        desk.get_by_role("button", name="Record").click()
        expect(desk.get_by_role("row").filter(has_text="called the user back")).to_contain_text("staff")


class TestAlert:
    @pytest.fixture
    def outage(self, live_shop: LiveShop) -> Iterator[None]:
        """The alert of the simulated outage, as it stood while turns failed; the server goes on looking at it, and is
        told to wait before it calls it over."""
        rules = live_shop.data_dir / "alerts.yaml"
        rules.write_text("rules: {error_rate: {clears_after: 1h}}\n")
        with closing(sqlite3.connect(live_shop.data_dir / "handrail.db", timeout=30)) as database, database:
            (began,) = database.execute("SELECT min(created_at) FROM turn WHERE status = 'failed'").fetchone()
            database.execute(
                "INSERT INTO alert (id, tenant_id, fingerprint, rule, severity, labels, state, said, numbers, "
                "started_at, fired_at, flaps, told, notices, version) VALUES ('alrt_0', 'default', 'outage', "
                "'error_rate', 'critical', '{\"agent\": \"shop\"}', 'firing', '2 of 20 turns failed', '{}', ?, ?, 0, "
                "'[]', 0, 0)",
                (began, began),
            )
        yield
        rules.unlink()

    @pytest.mark.usefixtures("outage")
    def test_leads_from_its_firing_over_what_is_behind_it_to_its_end(self, visitor: Visitor, live_shop: LiveShop):
        page = visitor.open("/console/dashboard")
        page.locator("a.tile", has_text="Alerts firing").click()
        alert = page.locator("article.case", has_text="2 of 20 turns failed")
        expect(alert.get_by_role("heading", name="Error rate")).to_be_visible()
        alert.get_by_role("link", name="The conversations behind it").click()
        expect(page.locator("#total")).to_contain_text("it happened")
        page.get_by_role("table").get_by_role("link").first.click()
        expect(page.get_by_role("heading", name=re.compile(r"Turn \d+: failed")).first).to_be_visible()
        page.goto(f"{live_shop.address}/console/alerts/alrt_0")
        page.get_by_role("link", name="What to do about error rate").click()
        expect(page.get_by_role("heading", name="Error rate")).to_be_in_viewport()
        page.go_back()
        page.get_by_role("link", name="Silence it").click()
        expect(page.get_by_label("Rule", exact=True)).to_have_value("error_rate")
        page.get_by_label("Why (kept)").fill("the provider knows")
        page.get_by_role("button", name="Silence", exact=True).click()
        expect(page.get_by_text("the provider knows")).to_be_visible()
        # It is fine again, and with this it has been for long enough.
        (live_shop.data_dir / "alerts.yaml").write_text("rules: {error_rate: {clears_after: 1s}}\n")
        over = page.locator("li.over", has_text="2 of 20 turns failed")
        expect(over).to_have_count(0)
        # The server looks every fifteen seconds.
        for _ in range(160):
            if over.count():
                break
            page.wait_for_timeout(250)
            page.reload()
        expect(over.get_by_role("link", name="The conversations behind it")).to_be_visible()


class TestSearch:
    def test_leads_from_words_to_the_conversation_in_which_they_were_said(self, visitor: Visitor):
        page = visitor.open("/console/conversations")
        page.get_by_label("Said in it").fill("blanket")
        page.get_by_role("button", name="Show").click()
        expect(page.get_by_role("heading", name="Search in conversations")).to_be_visible()
        expect(page.get_by_text("Searched for blanket")).to_be_visible()
        for _ in range(30):
            # What was said is read once nothing more was said for ten seconds.
            if page.locator(".hits a").count():
                break
            page.wait_for_timeout(1000)
            page.reload()
        page.locator(".hits a").first.click()
        expect(page.get_by_role("heading", name="Turn 1", exact=False)).to_be_visible()
        expect(page.get_by_text("blanket").first).to_be_visible()


class TestAccessibility:
    @pytest.mark.parametrize("look", LOOKS)
    def test_of_every_page(self, visitor: Visitor, live_shop: LiveShop, look: str):
        visitor.allow("404 (Not Found)")
        page = visitor.open("/console/chat", bypass_csp=True, **LOOKS[look])
        assert_accessible(page)
        for place in (*PLACES, first_conversation(live_shop)):
            page.goto(f"{live_shop.address}/console/{place}")
            assert_accessible(page)
            assert_fits(page)


def first_conversation(live_shop: LiveShop) -> str:
    with closing(sqlite3.connect(live_shop.data_dir / "handrail.db", timeout=30)) as database:
        row = database.execute("SELECT conversation_id FROM conversation_fact ORDER BY tool_calls DESC LIMIT 1")
        return f"conversations/{row.fetchone()[0]}"
