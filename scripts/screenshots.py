"""Take the pictures of docs/images anew: `.venv/bin/python scripts/screenshots.py`, with a Chromium.

Fresh data folders are filled by `handrail simulate` and served. Pictures show the upper part of each page at one pixel
a point, so that they stay small. Run it after a page has changed its looks.
"""

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Generator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright

ROOT = Path(__file__).parent.parent
IMAGES = ROOT / "docs" / "images"
PORT = 8989
ADDRESS = f"http://127.0.0.1:{PORT}/console"
WIDE, PHONE, LOWEST = 1100, 390, 400
SEARCH = "conversations/search?q=blanket"


@dataclass(frozen=True, slots=True)
class Picture:
    """One page; `place` may name a row of the data by `{conversation}`, `{alert}` or `{approval}`."""

    name: str
    place: str
    height: int = 800
    width: int = WIDE
    scheme: Literal["light", "dark"] = "light"
    scale: float = 1.0


USUAL = (
    Picture("dashboard", "dashboard?range=7d", 1560),
    Picture("dashboard-dark", "dashboard?range=7d", 800, scheme="dark"),
    Picture("dashboard-phone", "dashboard?range=7d", 844, PHONE),
    Picture("conversations", "conversations?range=7d"),
    Picture("conversation", "conversations/{conversation}", 1100),
    Picture("costs", "costs?range=7d", 1180),
    Picture("scorecard", "scorecard?days=7", 1180),
    Picture("approvals", "approvals", 640),
    Picture("approval", "approvals/{approval}"),
    Picture("alerts", "alerts", 980),
    Picture("feedback", "feedback"),
    Picture("switches", "switches", 700),
    Picture("status", "status", 700),
    Picture("search", SEARCH),
)
EVERY_RULE = (
    Picture("alerts-every-rule", "alerts", 2800, scale=0.65),
    Picture("alert", "alerts/{alert}"),
    Picture("runbook", "runbook#traffic_drop", 600),
    Picture("jobs", "jobs", 700),
)
BUDGETS = '[{"name": "month", "usd": 60}, {"name": "shop", "usd": 1.5, "period": "day", "agent": "shop"}]'
ROWS = {
    "conversation": "SELECT conversation_id FROM conversation_fact WHERE model_calls > 1 AND turns < 4"
    " ORDER BY tool_calls DESC",
    "approval": "SELECT id FROM approval WHERE status = 'pending' ORDER BY id",
    "alert": "SELECT id FROM alert WHERE rule = 'traffic_drop' AND fired_at IS NOT NULL ORDER BY id",
}


def main() -> int:
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        print("screenshots: no Chromium is installed", file=sys.stderr)
        return 1
    with sync_playwright() as playwright:
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=chromium, args=sandbox)
        for incidents, pictures in (("usual", USUAL), ("all", EVERY_RULE)):
            with tempfile.TemporaryDirectory() as folder, served(Path(folder), incidents):
                for each in pictures:
                    take(browser, each, Path(folder))
        browser.close()
    return 0


@contextmanager
def served(folder: Path, incidents: str) -> Generator[None]:
    """A server over simulated days."""
    handrail = Path(sys.executable).with_name("handrail")
    options = ["--project", str(ROOT / "examples" / "shop"), "--data-dir", str(folder)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HANDRAIL_")}
    environment["HANDRAIL_COSTS__BUDGETS"] = BUDGETS
    subprocess.run([handrail, "simulate", *options, "--incidents", incidents], check=True, env=environment)
    serve = [handrail, "serve", *options, "--port", str(PORT)]
    server = subprocess.Popen(serve, stderr=subprocess.DEVNULL, env=environment)
    try:
        until_ready()
        yield
    finally:
        server.terminate()
        server.wait(30)


def until_ready() -> None:
    for _ in range(600):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{PORT}/readyz", timeout=2)
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise SystemExit("screenshots: the server did not start")


def take(browser: Browser, picture: Picture, folder: Path) -> None:
    """The upper part of the page, with everything unfolded on a conversation's."""
    page = browser.new_page(
        viewport=ViewportSize(width=picture.width, height=LOWEST),
        locale="en-GB",
        color_scheme=picture.scheme,
        device_scale_factor=picture.scale,
    )
    page.goto(f"{ADDRESS}/{picture.place.format(**rows_of(picture, folder))}")
    if picture.name == "conversation":
        page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    if picture.place == SEARCH:
        until_indexed(page)
    shown = min(picture.height, page.evaluate("document.documentElement.scrollHeight"))
    page.set_viewport_size(ViewportSize(width=picture.width, height=shown))
    size = len(page.screenshot(path=IMAGES / f"{picture.name}.png"))
    page.close()
    print(f"{picture.name}.png: {size // 1024} KB")


def rows_of(picture: Picture, folder: Path) -> dict[str, str]:
    """The id that the picture's place names."""
    with closing(sqlite3.connect(folder / "handrail.db")) as database:
        wanted = {name: query for name, query in ROWS.items() if f"{{{name}}}" in picture.place}
        return {name: database.execute(query).fetchone()[0] for name, query in wanted.items()}


def until_indexed(page: Page) -> None:
    """A server reads what was said into its index little by little."""
    found = -1
    while (now := page.locator("main a[href*='/console/conversations/conv_']").count()) != found:
        found = now
        time.sleep(3)
        page.reload()


if __name__ == "__main__":
    sys.exit(main())
