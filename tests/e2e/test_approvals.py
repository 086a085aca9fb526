"""Journeys of an approval: a customer asks in one window, a person decides in another."""

import itertools

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator, Page, expect

from tests.e2e.browsers import PHONE, Visitor

pytestmark = [pytest.mark.browser, pytest.mark.slow]

REASONS = itertools.count(1)


def park(page: Page) -> Locator:
    """Ask for the shop's large refund; returns the turn that waits."""
    send = page.get_by_role("button", name="Send", exact=True)
    for text in ("I want a refund for order A1004", f"it is broken, case {next(REASONS)}", "yes"):
        page.get_by_label("Your message").fill(text)
        send.click()
        expect(send).to_be_visible()
    turn = page.locator(".turn[data-turn]").last
    expect(turn.locator(".answer")).to_have_attribute("data-status", "requires_action")
    expect(turn.locator('[data-part="note"]')).to_contain_text("Waiting for a person")
    return turn


def decide(page: Page, button: str, reason: str) -> None:
    """On the approvals page, the newest that waits."""
    page.reload()
    form = page.locator("article.case").last
    form.get_by_label("Reason").fill(reason)
    form.get_by_role("button", name=button, exact=True).click()
    expect(page.get_by_role("heading", name="Approvals", exact=True)).to_be_visible()


@pytest.fixture
def desk(visitor: Visitor) -> Page:
    return visitor.open("/console/approvals")


class TestFollowing:
    def test_the_chat_page_shows_the_outcome_by_itself(self, visitor: Visitor, desk: Page):
        page = visitor.open()
        turn = park(page)
        decide(desk, "Reject", "the photo is missing")
        expect(turn.locator(".answer")).to_have_attribute("data-status", "completed")
        expect(turn).to_contain_text("the photo is missing")
        expect(turn.locator('[data-part="note"]')).to_be_hidden()
        expect(page.locator("#status")).to_contain_text("What waited for a person is decided")

    def test_the_conversation_goes_on_meanwhile_and_a_reload_changes_nothing(self, visitor: Visitor, desk: Page):
        page = visitor.open()
        park(page)
        page.get_by_label("Your message").fill("where is my order A1001?")
        page.get_by_role("button", name="Send", exact=True).click()
        expect(page.locator(".turn[data-turn]").last).to_contain_text("A1001")
        page.reload()
        turn = page.locator('.turn:has(.answer[data-status="requires_action"])')
        expect(turn).to_have_count(1)
        expect(turn.locator('[data-part="note"]')).to_contain_text("Waiting for a person")
        turn_id = turn.get_attribute("data-turn")
        decide(desk, "Reject", "no")
        expect(page.locator(f'[data-turn="{turn_id}"] .answer')).to_have_attribute("data-status", "completed")

    def test_a_question_is_answered_where_it_was_asked(self, visitor: Visitor, desk: Page):
        page = visitor.open()
        turn = park(page)
        desk.reload()
        desk.locator("article.case").last.get_by_role("link", name="Edit, ask, history").click()
        desk.get_by_label("Question").fill("Which blanket is broken?")
        desk.get_by_role("button", name="Ask", exact=True).click()
        expect(desk.get_by_text("No answer yet.")).to_be_visible()
        turn.get_by_label("Your answer").wait_for()
        assert_accessible(page)
        turn.get_by_label("Your answer").fill("the grey one")
        turn.get_by_role("button", name="Answer").click()
        expect(turn).to_contain_text("the grey one")
        desk.reload()
        expect(desk.get_by_text("Answer: the grey one")).to_be_visible()
        desk.get_by_label("Reason (needed").fill("not covered")
        desk.get_by_role("button", name="Reject", exact=True).click()
        expect(turn).to_contain_text("not covered")

    def test_works_without_scripts_by_reloading(self, visitor: Visitor, desk: Page):
        page = visitor.open(java_script_enabled=False)
        for text in ("I want a refund for order A1004", f"it is broken, case {next(REASONS)}", "yes"):
            page.get_by_label("Your message").fill(text)
            page.get_by_role("button", name="Send", exact=True).click()
        expect(page.locator(".turn").last).to_contain_text("Waiting for a person until")
        decide(desk, "Reject", "not today")
        page.reload()
        expect(page.locator(".turn").last).to_contain_text("not today")


class TestDeciding:
    def test_an_approved_refund_is_paid_with_the_edited_amount(self, visitor: Visitor, desk: Page):
        page = visitor.open()
        turn = park(page)
        desk.reload()
        desk.locator("article.case").last.get_by_role("link", name="Edit, ask, history").click()
        arguments = desk.get_by_label("All arguments, as JSON")
        arguments.fill(arguments.input_value().replace("19600", "999999"))
        desk.get_by_role("button", name="Approve the edit").click()
        desk.get_by_role("link", name="Refund order").last.wait_for()
        expect(turn.locator(".answer")).to_have_attribute("data-status", "completed")
        expect(turn).to_contain_text("can't refund order A1004")

    @pytest.mark.parametrize(
        "options", [{}, {"color_scheme": "dark"}, {"viewport": PHONE}], ids=["light", "dark", "phone"]
    )
    def test_the_pages_are_accessible(self, visitor: Visitor, options: dict[str, object]):
        park(visitor.open())
        page = visitor.open("/console/approvals", **options)
        assert_accessible(page)
        page.locator("article.case").last.get_by_role("link", name="Edit, ask, history").click()
        assert_accessible(page)
        page.get_by_label("All arguments, as JSON").fill("{")
        page.get_by_role("button", name="Approve the edit").click()
        expect(page.get_by_role("alert")).to_contain_text("not JSON")
        assert_accessible(page)
        visitor.allow("422")


def assert_accessible(page: Page) -> None:
    found = Axe().run(page).response["violations"]
    assert found == [], [(each["id"], [node["html"] for node in each["nodes"]]) for each in found]
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page is wider than its window"
