"""Templates to responses, all under one content security policy."""

import re
from typing import Any, cast

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.responses import HTMLResponse

from handrail.console.assets import Assets
from handrail.console.transcript import source_label

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
PLACES = (
    {"name": "chat", "title": "Chat", "href": "/console/chat"},
    {"name": "approvals", "title": "Approvals", "href": "/console/approvals"},
    {"name": "switches", "title": "Switches", "href": "/console/switches"},
    {"name": "jobs", "title": "Jobs", "href": "/console/jobs"},
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
        )
        # jinja2's types know its built-in globals only.
        known = cast(dict[str, Any], self._environment.globals)
        known.update(asset=assets.address, places=PLACES)
        self._environment.filters.update(prose=prose, source_label=source_label)

    def page(self, template: str, *, current: str, status: int = 200, **context: Any) -> HTMLResponse:
        """`current` names the place that the navigation marks."""
        body = self._environment.get_template(template).render(current=current, **context)
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


def prose(text: str) -> Markup:
    """Plain text as HTML: escaped, with `code` between backticks."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped just here
