"""Take the pictures of docs/images anew: `.venv/bin/python scripts/screenshots.py`, with a Chromium.

A fresh data folder is filled by `handrail simulate` and served. Pictures show the upper part of each page at one pixel
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
from pathlib import Path

from playwright.sync_api import Page, ViewportSize, sync_playwright

ROOT = Path(__file__).parent.parent
IMAGES = ROOT / "docs" / "images"
PORT = 8989
SIZE = ViewportSize(width=1100, height=800)
ADDRESS = f"http://127.0.0.1:{PORT}/console"
# By picture: the page, and how much of it is shown.
PAGES = {
    "dashboard": ("dashboard?range=7d", 1180),
    "costs": ("costs?range=7d", 1180),
    "conversations": ("conversations?range=7d", 800),
    "search": ("conversations/search?q=blanket", 800),
    "scorecard": ("scorecard?days=7", 1180),
    "alerts": ("alerts", 980),
    "feedback": ("feedback", 800),
}
BUDGETS = '[{"name": "all", "usd": 4}, {"name": "shop, a day", "usd": 5, "period": "day", "agent": "shop"}]'
LONGEST = "SELECT conversation_id FROM conversation_fact WHERE model_calls > 1 AND turns < 4 ORDER BY tool_calls DESC"


def main() -> int:
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        print("screenshots: no Chromium is installed", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder, served(Path(folder)) as conversation, sync_playwright() as playwright:
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=chromium, args=sandbox)
        page = browser.new_page(viewport=SIZE, locale="en-GB", color_scheme="light")
        for name, (place, height) in {**PAGES, "conversation": (f"conversations/{conversation}", 1100)}.items():
            page.goto(f"{ADDRESS}/{place}")
            if name == "conversation":
                page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
            picture(page, name, height)
        browser.close()
    return 0


@contextmanager
def served(folder: Path) -> Generator[str]:
    """A server over simulated days; gives a conversation with a waterfall worth seeing."""
    handrail = Path(sys.executable).with_name("handrail")
    options = ["--project", str(ROOT / "examples" / "shop"), "--data-dir", str(folder)]
    env = {**os.environ, "HANDRAIL_COSTS__BUDGETS": BUDGETS}
    subprocess.run([handrail, "simulate", *options], check=True, env=env)
    server = subprocess.Popen([handrail, "serve", *options, "--port", str(PORT)], stderr=subprocess.DEVNULL, env=env)
    try:
        until_ready()
        with closing(sqlite3.connect(folder / "handrail.db")) as database:
            yield database.execute(LONGEST).fetchone()[0]
    finally:
        server.terminate()
        server.wait(30)


def until_ready() -> None:
    for _ in range(300):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{PORT}/readyz", timeout=2)
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise SystemExit("screenshots: the server did not start")


def picture(page: Page, name: str, height: int) -> None:
    shown = min(height, page.evaluate("document.documentElement.scrollHeight"))
    page.set_viewport_size(ViewportSize(width=SIZE["width"], height=shown))
    size = len(page.screenshot(path=IMAGES / f"{name}.png"))
    page.set_viewport_size(SIZE)
    print(f"{name}.png: {size // 1024} KB")


if __name__ == "__main__":
    sys.exit(main())
