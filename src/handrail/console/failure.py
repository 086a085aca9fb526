"""What a browser is shown where another client gets an error in JSON: the same words, as a page."""

from collections.abc import Mapping
from dataclasses import dataclass

from starlette.requests import HTTPConnection
from starlette.responses import Response

from handrail.console.rendering import Renderer
from handrail.core import json

TITLES: Mapping[int, str] = {404: "There is no such page", 405: "This page can't be sent that", 503: "Not now"}
NO_PAGE = "The address names nothing that the console has."
OTHERWISE, OURS = "This can't be shown", "Something went wrong"
_ABOUT_THE_BODY = frozenset({"content-type", "content-length"})


@dataclass(frozen=True, slots=True)
class FailurePage:
    """Stands in for the JSON of errors of the console's addresses. Needs no session and no database."""

    renderer: Renderer

    def instead_of(self, connection: HTTPConnection, answer: Response) -> Response:
        """The page, for whoever asked a page of the console for HTML; anything else is left as it is."""
        if not _wants_page(connection):
            return answer
        error, status = json.loads(bytes(answer.body))["error"], answer.status_code
        page = self.renderer.page(
            "failure.html",
            current="",
            status=status,
            title=TITLES.get(status, OURS if status >= 500 else OTHERWISE),
            reason=_sentence(error["message"]) if status != 404 else NO_PAGE,
            trace_id=error["trace_id"],
            is_ours=status >= 500,
        )
        page.headers.update({name: value for name, value in answer.headers.items() if name not in _ABOUT_THE_BODY})
        return page


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _wants_page(connection: HTTPConnection) -> bool:
    is_ours = connection.scope["type"] == "http" and connection.url.path.startswith("/console/")
    return is_ours and "text/html" in connection.headers.get("accept", "")
