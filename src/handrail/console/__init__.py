"""The console: pages for people, rendered on the server; a small script of ours makes them live.

Its promise: every page works without scripts, loads nothing from elsewhere, and runs under a policy that forbids inline
scripts and styles. Acts beside the API and never around it: the script uses the public API, and a plain form calls the
same flows. Closed: a form from another site is refused, and once keys exist, without a session nothing is shown that
is for staff.
"""

from fastapi import FastAPI

from handrail.console.assets import Assets
from handrail.console.failure import FailurePage
from handrail.console.pages import (
    alerts,
    approvals,
    chat,
    conversations,
    costs,
    dashboard,
    feedback,
    jobs,
    provider,
    reference,
    scorecard,
    searching,
    sign_in,
    status,
    switches,
)
from handrail.console.rendering import Renderer

_SCREENS = (
    sign_in,
    provider,
    chat,
    dashboard,
    costs,
    searching,
    conversations,
    scorecard,
    approvals,
    alerts,
    feedback,
    switches,
    jobs,
    reference,
    status,
)


def mount(app: FastAPI) -> FailurePage:
    """Add the console's routes to the application; what they show when one fails is the application's to ask for."""
    assets = Assets.load()
    renderer = Renderer(assets)
    app.add_route("/console/static/{fingerprint}/{name}", assets.respond, include_in_schema=False)
    for screen in _SCREENS:
        screen.add_routes(app, renderer)
    return FailurePage(renderer)


__all__ = ["FailurePage", "mount"]
