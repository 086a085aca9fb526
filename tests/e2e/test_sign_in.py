"""Journeys of somebody who signs in to a console that has keys."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.children import command
from tests.e2e.browsers import PHONE, Visitor
from tests.e2e.servers import LiveShop

pytestmark = [pytest.mark.browser, pytest.mark.slow]


class Keys:
    """The command line on the server's machine."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir

    def run(self, *words: str) -> str:
        given = ("keys", *words, "--data-dir", str(self._data_dir))
        return command(*given, home=self._data_dir, env=os.environ, check=True).stdout.strip()

    def link(self, *words: str) -> str:
        return "/console/" + self.run("link", *words).partition("/console/")[2]


@pytest.fixture(scope="module")
def keyed_shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LiveShop, Keys]]:
    folder = tmp_path_factory.mktemp("keyed")
    shop, keys = LiveShop(folder, folder / "server.log"), Keys(folder)
    keys.run("create", "--subject", "ann")
    try:
        yield shop.start(), keys
    finally:
        shop.stop()


@pytest.fixture
def guest(browser: Browser, keyed_shop: tuple[LiveShop, Keys]) -> Iterator[Visitor]:
    guest = Visitor(browser, keyed_shop[0].address)
    # Whoever is not signed in gets 401, which browsers log.
    guest.allow("401")
    yield guest
    guest.leave()


@pytest.fixture
def keys(keyed_shop: tuple[LiveShop, Keys]) -> Keys:
    return keyed_shop[1]


def use_link(page: Page) -> None:
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Approvals", exact=True)).to_be_visible()


class TestSigningIn:
    def test_the_first_operator_comes_in_by_a_link_and_goes_out_again(self, guest: Visitor, keys: Keys):
        link = keys.link()
        page = guest.open(link)
        use_link(page)
        expect(page.get_by_role("link", name="first-operator")).to_be_visible()
        page.goto(guest.address + "/console/switches")
        expect(page.get_by_role("button", name="Switch off")).to_be_visible()
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
        page.goto(guest.address + link)
        expect(page.get_by_role("alert")).to_contain_text("This link was used")

    @pytest.mark.parametrize("scripts", [True, False])
    def test_a_key_opens_the_page_that_was_asked_for(self, guest: Visitor, keys: Keys, scripts: bool):
        key = keys.run("create", "--subject", "vera", "--role", "viewer")
        page = guest.open("/console/jobs", java_script_enabled=scripts)
        page.get_by_label("API key").fill("hr_" + "x" * 20)
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("alert")).to_contain_text("not known")
        page.get_by_label("API key").fill(key)
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("heading", name="Jobs", exact=True)).to_be_visible()
        expect(page.get_by_role("button", name="Run now")).to_have_count(0)
        expect(page.get_by_text("An operator can ask for one.").first).to_be_visible()

    def test_a_session_that_is_ended_elsewhere_is_over(self, guest: Visitor, keys: Keys):
        first, second = guest.open(keys.link()), guest.open(keys.link())
        use_link(first)
        use_link(second)
        second.goto(guest.address + "/console/account")
        second.get_by_role("button", name="End this session").first.click()
        while second.get_by_role("button", name="End this session").count():
            second.get_by_role("button", name="End this session").first.click()
        first.reload()
        expect(first.get_by_role("heading", name="Sign in")).to_be_visible()
        second.reload()
        expect(second.get_by_role("heading", name="first-operator", exact=True)).to_be_visible()


@pytest.mark.parametrize(
    "options",
    [{}, {"color_scheme": "dark"}, {"viewport": PHONE}, {"viewport": PHONE, "color_scheme": "dark"}],
    ids=["light", "dark", "phone", "dark phone"],
)
def test_its_pages_are_for_everybody(guest: Visitor, keys: Keys, options: dict[str, Any]):
    page = guest.open("/console/approvals", bypass_csp=True, **options)
    page.get_by_label("API key").fill("hr_x")
    page.get_by_role("button", name="Sign in").click()
    require_accessible(page)
    page.goto(guest.address + keys.link())
    require_accessible(page)
    use_link(page)
    page.goto(guest.address + "/console/account")
    require_accessible(page)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing sticks out at the side"


def require_accessible(page: Page) -> None:
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
