"""Journeys of somebody who looks after alerts."""

import sqlite3
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.e2e.browsers import PHONE, Visitor
from tests.e2e.servers import LiveShop

pytestmark = [pytest.mark.browser, pytest.mark.slow]

LOOKS = {"light": {"color_scheme": "light"}, "dark": {"color_scheme": "dark"}, "phone": {"viewport": PHONE}}


@pytest.fixture
def firing(live_shop: LiveShop) -> None:
    """An alert that fires, as a look at the rules would have stored it."""
    with sqlite3.connect(Path(live_shop.data_dir) / "handrail.db", timeout=30) as database:
        database.execute("DELETE FROM alert")
        database.execute(
            "INSERT INTO alert (id, tenant_id, fingerprint, rule, severity, labels, state, said, numbers, started_at, "
            "fired_at, flaps, told, notices, version) VALUES ('alrt_1', 'default', 'f', 'unusual_user', 'warning', "
            "'{\"principal\": \"hmac:1\"}', 'firing', '12 actions in an hour', '{}', 1764201600000000, "
            "1764201600000000, 0, '[]', 0, 0)"
        )
    database.close()


def page_of(visitor: Visitor, **look: object) -> Page:
    page = visitor.open("/console/alerts", **look)
    expect(page.get_by_role("heading", name="Alerts", exact=True)).to_be_visible()
    return page


@pytest.mark.usefixtures("firing")
class TestAlerts:
    def test_are_acknowledged_and_silenced_without_scripts(self, visitor: Visitor) -> None:
        page = page_of(visitor, java_script_enabled=False)
        page.get_by_label("Note (kept)").fill("looking at it")
        page.get_by_role("button", name="Acknowledge").click()
        expect(page.locator("article.case").first).to_contain_text("looking at it")
        page.get_by_text("Tell nobody of some alerts for a time").click()
        page.get_by_label("Rule", exact=True).select_option("unusual_user")
        page.get_by_label("Why (kept)").fill("a load test")
        page.get_by_role("button", name="Silence", exact=True).click()
        expect(page.get_by_text("a load test")).to_be_visible()
        page.get_by_role("button", name="Tell again").click()
        expect(page.get_by_text("Nothing is silenced.")).to_be_visible()

    def test_lead_to_what_to_do(self, visitor: Visitor) -> None:
        page = page_of(visitor)
        page.get_by_role("link", name="What to do about unusual user").click()
        expect(page.get_by_role("heading", name="Unusual user")).to_be_in_viewport()

    @pytest.mark.parametrize("look", LOOKS)
    def test_axe_finds_nothing(self, visitor: Visitor, look: str) -> None:
        page = visitor.open("/console/alerts", bypass_csp=True, **LOOKS[look])
        expect(page.get_by_text("12 actions in an hour")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        assert Axe().run(page).violations_count == 0
        page.goto(page.url.replace("/alerts", "/runbook"))
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        assert Axe().run(page).violations_count == 0
