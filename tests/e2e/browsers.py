"""A real browser for tests, and what must never happen in it."""

import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

DESKTOP = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}
_WATCH = """
window.policyViolations = [];
document.addEventListener("securitypolicyviolation", (event) => {
  window.policyViolations.push(`${event.violatedDirective}: ${event.blockedURI}`);
});
"""


def find_chromium() -> str | None:
    names = [os.environ.get("HANDRAIL_CHROMIUM"), "chromium", "chromium-browser", "google-chrome"]
    return next((found for name in names if name and (found := shutil.which(name))), None)


def require_chromium() -> str:
    """The browser's path; without one the test is skipped, or fails where CI says that it has to run."""
    found = find_chromium()
    if found is not None:
        return found
    message = "no Chromium: install it (apt-get install chromium) or name one in HANDRAIL_CHROMIUM"
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)


@contextmanager
def open_browser() -> Generator[Browser]:
    executable = require_chromium()
    # Chromium's sandbox can't be set up by root.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=arguments)
        yield browser
        browser.close()


@dataclass
class Visitor:
    """One person with one browser window. Errors of the page are collected; each test ends by looking at them."""

    browser: Browser
    address: str
    allowed: list[str] = field(default_factory=list[str])
    problems: list[str] = field(default_factory=list[str])
    _contexts: list[BrowserContext] = field(default_factory=list[BrowserContext])

    def open(self, path: str = "/console/chat", **options: Any) -> Page:
        """A fresh window (own cookies and storage) on this page."""
        given: dict[str, Any] = {"viewport": DESKTOP, "locale": "en-GB", **options}
        context = self.browser.new_context(**given)
        self._contexts.append(context)
        context.add_init_script(_WATCH)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("console", lambda each: self.problems.append(each.text) if each.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.goto(self.address + path)
        return page

    def allow(self, text: str) -> None:
        """This test provokes it: browsers log every refused request as an error."""
        self.allowed.append(text)

    def leave(self) -> None:
        for context in self._contexts:
            for page in context.pages:
                self.problems += page.evaluate("window.policyViolations ?? []") if _has_scripts(page) else []
            context.close()
        unexpected = [each for each in self.problems if not any(text in each for text in self.allowed)]
        assert unexpected == [], f"the browser complained: {unexpected}"


def _has_scripts(page: Page) -> bool:
    return page.evaluate("typeof window.policyViolations") == "object"
