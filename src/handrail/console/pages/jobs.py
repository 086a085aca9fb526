"""The jobs page: what runs in the background, how it went, and a button to run it now."""

from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from handrail.console.access import is_same_origin, operator_of, services_of
from handrail.console.rendering import Renderer
from handrail.core.errors import HandrailError
from handrail.core.principal import Principal
from handrail.flows.job_desk import JobDesk


@dataclass(frozen=True, slots=True)
class JobsPage:
    """The page's routes. Only the local operator is known to a page so far."""

    renderer: Renderer

    async def show(self, request: Request, error: str | None = None, status: int = 200) -> Response:
        principal = await operator_of(request)
        if principal is None:
            return self._no_operator()
        jobs = [_view(job) for job in await _desk(request, principal).list()]
        engine = services_of(request).background.engine.state
        return self.renderer.page("jobs.html", current="jobs", status=status, jobs=jobs, engine=engine, error=error)

    async def post(self, request: Request) -> Response:
        """Ask for a run; a mistake shows the page again with what to do."""
        if not is_same_origin(request):
            return self._refused(403, "This form did not come from this page", "Open the jobs page and run it there.")
        principal = await operator_of(request)
        if principal is None:
            return self._no_operator()
        try:
            await _desk(request, principal).run(request.path_params["name"])
        except HandrailError as error:
            return await self.show(request, f"{error.message}.", 409)
        return RedirectResponse("/console/jobs", 303)

    def _no_operator(self) -> Response:
        return self._refused(
            401,
            "This page can't tell who you are",
            "This server has API keys, and signing in to the console is not there yet. Use `handrail jobs list` on its "
            "machine, or the API with a key of role operator.",
        )

    def _refused(self, status: int, title: str, reason: str) -> Response:
        return self.renderer.page("message.html", current="jobs", status=status, title=title, reason=reason)


def _desk(request: Request, principal: Principal) -> JobDesk:
    services = services_of(request)
    return JobDesk(services.db, services.clock, principal)


def _view(job: dict[str, Any]) -> dict[str, Any]:
    last = job["last_run"]
    did = [
        f"{what.replace('_', ' ')}: {count}"
        for report in (last["report"].values() if last else ())
        for what, count in report.items()
    ]
    return job | {"title": job["name"].replace("_", " "), "did": did}


def add_routes(app: FastAPI, renderer: Renderer) -> None:
    page = JobsPage(renderer)
    app.add_route("/console/jobs", page.show, include_in_schema=False)
    app.add_route("/console/jobs/{name}", page.post, methods=["POST"], include_in_schema=False)
