"""The product owner's journey over simulated days: from the dashboard to the conversations behind a number, and on."""

from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.e2e.browsers import PHONE, Visitor
from tests.e2e.servers import LiveShop
from tests.integration.processes import run

pytestmark = [pytest.mark.browser, pytest.mark.slow]

PLACES = (
    "dashboard?range=28d",
    "conversations",
    "conversations/search?q=blanket",
    "scorecard?days=28",
    "alerts",
    "feedback",
)


@pytest.fixture(scope="module")
def live_shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveShop]:
    """Two days in which made-up users talked; the alerts, rollups and traces of it are there."""
    folder = tmp_path_factory.mktemp("simulated")
    done = run("simulate", "--seed", "3", "--conversations", "40", home=folder)
    assert done.returncode == 0, done.stderr
    shop = LiveShop(folder / "data", folder / "server.log").start()
    try:
        yield shop
    finally:
        shop.stop()


@pytest.fixture
def visitor(browser: Browser, live_shop: LiveShop) -> Iterator[Visitor]:
    visitor = Visitor(browser, live_shop.address)
    yield visitor
    visitor.leave()


def assert_accessible(page: Page) -> None:
    found = Axe().run(page).response["violations"]
    assert found == [], [(each["id"], [node["html"] for node in each["nodes"]]) for each in found]


class TestFromANumber:
    def test_to_the_conversations_behind_it_and_what_happened_in_one(self, visitor: Visitor):
        page = visitor.open("/console/dashboard?range=28d")
        expect(page.get_by_role("img", name="Conversations by the day")).to_be_visible()
        page.get_by_role("link", name="Conversations", exact=False).filter(has_text="pending").first.click()
        expect(page.get_by_role("heading", name="Conversations", exact=True)).to_be_visible()
        page.get_by_role("table").get_by_role("link").first.click()
        expect(page.get_by_role("heading", name="Turn 1", exact=False)).to_be_visible()
        expect(page.get_by_text("invoke_agent shop").first).to_be_visible()
        assert_accessible(page)

    def test_a_chart_is_a_table_too(self, visitor: Visitor):
        page = visitor.open("/console/dashboard?range=28d")
        page.get_by_text("Show as a table").first.click()
        expect(page.get_by_role("columnheader", name="Time (UTC)").first).to_be_visible()

    def test_a_filter_stays_in_the_address(self, visitor: Visitor):
        page = visitor.open("/console/conversations")
        page.get_by_label("Outcome").select_option("pending")
        page.get_by_role("button", name="Show").click()
        assert "outcome=pending" in page.url
        expect(page.get_by_label("Outcome")).to_have_value("pending")


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
    @pytest.mark.parametrize("scheme", ["light", "dark"])
    @pytest.mark.parametrize("place", PLACES)
    def test_of_every_page_in_both_schemes(self, visitor: Visitor, place: str, scheme: str):
        page = visitor.open(f"/console/{place}", bypass_csp=True, color_scheme=scheme)
        assert_accessible(page)

    @pytest.mark.parametrize("place", PLACES)
    def test_on_a_phone_nothing_is_wider_than_it(self, visitor: Visitor, place: str):
        page = visitor.open(f"/console/{place}", bypass_csp=True, viewport=PHONE, has_touch=True)
        assert_accessible(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
