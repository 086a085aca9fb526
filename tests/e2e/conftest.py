"""One browser and one shop for the journeys of a module, a fresh window for each."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.e2e.browsers import Visitor, open_browser
from tests.e2e.servers import LiveShop


# Not for the whole session: Playwright keeps an event loop running, and no async test could run beside it.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def live_shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveShop]:
    folder = tmp_path_factory.mktemp("shop")
    shop = LiveShop(folder, folder / "server.log").start()
    try:
        yield shop
    finally:
        shop.stop()


@pytest.fixture
def visitor(browser: Browser, live_shop: LiveShop) -> Iterator[Visitor]:
    visitor = Visitor(browser, live_shop.address)
    yield visitor
    visitor.leave()
