"""A browser is told of a failure in a page, and everything else in the JSON of the API."""

import os
from pathlib import Path

import pytest
from httpx2 import ASGITransport, AsyncClient
from jinja2 import FileSystemLoader
from starlette.requests import Request
from starlette.responses import Response

from handrail.console.assets import Assets
from handrail.console.rendering import Renderer
from handrail.db import StoreUnavailable
from handrail.http.app import create_app
from tests.console.console import ORIGIN, Console

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


class TestAFailedPage:
    async def test_says_that_there_is_none_and_where_to_go(self, console: Console) -> None:
        answer = await console.get("/console/<nonsense>", accept=BROWSER)
        assert (answer.status_code, answer.headers["content-type"]) == (404, "text/html; charset=utf-8")
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "There is no such page" in answer.text
        assert "The address names nothing that the console has." in answer.text
        assert "/console/dashboard" in answer.text
        assert "nonsense" not in answer.text

    @pytest.mark.parametrize(
        ("error", "status", "title", "reason"),
        [
            (
                StoreUnavailable("the database did not answer"),
                503,
                "Not now",
                "The database did not answer",
            ),
            (RuntimeError("secret <b>"), 500, "Something went wrong", "Something went wrong on our side"),
        ],
    )
    async def test_says_what_is_wrong_and_under_which_trace_without_a_database(
        self, console: Console, error: Exception, status: int, title: str, reason: str
    ) -> None:
        app = create_app(console.services, port=8080)

        async def fail(_request: Request) -> Response:
            raise error

        app.add_route("/console/broken", fail)
        app.add_route("/v1/broken", fail)
        transport = ASGITransport(app, raise_app_exceptions=False)
        async with AsyncClient(transport=transport, base_url=ORIGIN) as client:
            page = await client.get("/console/broken", headers={"accept": BROWSER})
            assert page.status_code == status
            assert f"<h1>{title}</h1>" in page.text
            assert reason in page.text
            assert "secret" not in page.text
            assert "/console/status" in page.text
            for path, accept in (("/console/broken", "*/*"), ("/v1/broken", BROWSER)):
                told = await client.get(path, headers={"accept": accept})
                assert told.status_code == status
                assert told.json()["error"]["trace_id"]

    async def test_keeps_when_to_come_again(self, console: Console) -> None:
        app = create_app(console.services, port=8080)

        async def fail(_request: Request) -> Response:
            raise StoreUnavailable("the database did not answer", retry_after_seconds=2)

        app.add_route("/console/broken", fail)
        async with AsyncClient(transport=ASGITransport(app), base_url=ORIGIN) as client:
            page = await client.get("/console/broken", headers={"accept": BROWSER})
        assert page.headers["retry-after"] == "2"
        assert int(page.headers["content-length"]) == len(page.content)


def test_a_template_that_changes_under_a_running_server_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    template = tmp_path / "page.html"
    template.write_text("of this version")
    monkeypatch.setattr("handrail.console.rendering.PackageLoader", lambda _: FileSystemLoader(tmp_path))
    renderer = Renderer(Assets.load())
    for content in ("of this version", "of the next {{ nobody_gives_this }}"):
        template.write_text(content)
        os.utime(template, (1, 1) if content.endswith("}}") else None)
        assert renderer.page("page.html", current="").body == b"of this version"
