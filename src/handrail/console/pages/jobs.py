"""The jobs page: what runs in the background, how it went, and a button to run it now."""

from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from handrail.console.access import STAFF, Visitor, services_of
from handrail.console.door import Door, Fields
from handrail.console.rendering import Renderer
from handrail.core.errors import HandrailError
from handrail.core.principal import Principal, Role
from handrail.flows.job_desk import JobDesk
from handrail.protection.auth import Scope


@dataclass(frozen=True, slots=True)
class JobsPage:
    """The page's routes. Only the local operator is known to a page so far."""

    renderer: Renderer

    async def show(self, request: Request, visitor: Visitor) -> Response:
        return await self._page(request, visitor)

    async def post(self, request: Request, visitor: Visitor, _fields: Fields) -> Response:
        """Ask for a run; a mistake shows the page again with what to do."""
        try:
            await _desk(request, visitor.principal).run(request.path_params["name"])
        except HandrailError as error:
            return await self._page(request, visitor, f"{error.message}.", 409)
        return RedirectResponse("/console/jobs", 303)

    async def _page(self, request: Request, visitor: Visitor, error: str | None = None, status: int = 200) -> Response:
        jobs = [_view(job) for job in await _desk(request, visitor.principal).list()]
        engine = services_of(request).background.engine.state
        return self.renderer.page(
            "jobs.html", current="jobs", visitor=visitor, status=status, jobs=jobs, engine=engine, error=error
        )


def _desk(request: Request, principal: Principal) -> JobDesk:
    services = services_of(request)
    return JobDesk(services.db, services.clock, principal, services.audit)


def _view(job: dict[str, Any]) -> dict[str, Any]:
    last = job["last_run"]
    did = [
        f"{what.replace('_', ' ')}: {count}"
        for report in (last["report"].values() if last else ())
        for what, count in report.items()
    ]
    return job | {"title": job["name"].replace("_", " "), "did": did}


def add_routes(app: FastAPI, renderer: Renderer) -> None:
    page, door = JobsPage(renderer), Door(renderer)
    app.add_route("/console/jobs", door.shows("jobs", page.show, Scope.JOBS_READ, *STAFF), include_in_schema=False)
    run = door.takes("jobs", page.post, Scope.JOBS_WRITE, Role.OPERATOR, Role.ADMIN)
    app.add_route("/console/jobs/{name}", run, methods=["POST"], include_in_schema=False)
