"""Templates to responses, all under one content security policy."""

import re
from typing import Any, cast

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.responses import HTMLResponse

from handrail.console.access import Visitor
from handrail.console.assets import Assets
from handrail.console.transcript import source_label
from handrail.console.words import counted, lasting, moment, shortened, spoken

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
PLACES: tuple[dict[str, Any], ...] = (
    {"name": "chat", "title": "Chat", "href": "/console/chat"},
    {"name": "dashboard", "title": "Dashboard", "href": "/console/dashboard", "staff": True},
    {"name": "conversations", "title": "Conversations", "href": "/console/conversations", "staff": True},
    {"name": "costs", "title": "Costs", "href": "/console/costs", "staff": True},
    {"name": "scorecard", "title": "Scorecard", "href": "/console/scorecard", "staff": True},
    {"name": "approvals", "title": "Approvals", "href": "/console/approvals", "staff": True},
    {"name": "alerts", "title": "Alerts", "href": "/console/alerts", "staff": True},
    {"name": "feedback", "title": "Feedback", "href": "/console/feedback", "staff": True},
    {"name": "switches", "title": "Switches", "href": "/console/switches", "staff": True},
    {"name": "jobs", "title": "Jobs", "href": "/console/jobs", "staff": True},
    {"name": "reference", "title": "API", "href": "/docs"},
    {"name": "status", "title": "Status", "href": "/console/status"},
)


class Renderer:
    """Renders a template as a page of the console."""

    def __init__(self, assets: Assets) -> None:
        self._environment = Environment(
            loader=PackageLoader("handrail.console"),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
            undefined=StrictUndefined,
            # A template of another version that an upgrade puts beside the running server is not for this one.
            auto_reload=False,
        )
        # jinja2's types know its built-in globals only.
        known = cast(dict[str, Any], self._environment.globals)
        known.update(asset=assets.address, places_of=places_of)
        filters = cast(dict[str, Any], self._environment.filters)
        filters.update(prose=prose, source_label=source_label)
        filters.update({each.__name__: each for each in (counted, lasting, moment, shortened, spoken)})

    def page(
        self, template: str, *, current: str, visitor: Visitor | None = None, status: int = 200, **context: Any
    ) -> HTMLResponse:
        """`current` names the place that the navigation marks; `visitor` is named in the header of the page."""
        body = self._environment.get_template(template).render(current=current, visitor=visitor, **context)
        return HTMLResponse(
            body,
            status,
            {
                "content-security-policy": CONTENT_SECURITY_POLICY,
                "cache-control": "no-store",
                "x-content-type-options": "nosniff",
                "referrer-policy": "no-referrer",
            },
        )


def places_of(visitor: Visitor | None) -> list[dict[str, Any]]:
    """The places of the navigation that somebody may go to."""
    return [each for each in PLACES if visitor is not None or not each.get("staff")]


def prose(text: str) -> Markup:
    """Plain text as HTML: escaped, with `code` between backticks."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped just here
