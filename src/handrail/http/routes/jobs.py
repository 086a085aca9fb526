"""Jobs: what runs in the background, and how it went."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from handrail.core.principal import Principal, Role
from handrail.flows.job_desk import JobDesk
from handrail.http.errors import json_response
from handrail.http.openapi import answers, reads, up_to
from handrail.http.requests import limit_of, services_of, staff_of
from handrail.http.schemas.operations import JobList, JobRun, JobWithRuns
from handrail.protection.auth import Scope

router = APIRouter(prefix="/v1", tags=["jobs"], default_response_class=Response)
_READERS = (Role.VIEWER, Role.REVIEWER, Role.APPROVER, Role.OPERATOR, Role.ADMIN)


def _desk(request: Request, principal: Principal) -> JobDesk:
    services = services_of(request)
    return JobDesk(services.db, services.clock, principal, services.audit)


@router.get("/jobs", responses=answers("a list of jobs", JobList))
async def list_jobs(request: Request) -> Response:
    """All jobs: when they run, and the newest run of each."""
    principal = await staff_of(request, Scope.JOBS_READ, *_READERS)
    engine = services_of(request).background.engine.state
    return json_response({"data": await _desk(request, principal).list(), "next_cursor": None, "engine": engine})


@router.get(
    "/jobs/{name}",
    openapi_extra=reads(up_to(default=20)),
    responses=answers("a job with its newest runs", JobWithRuns, 404),
)
async def get_job(request: Request, name: str) -> Response:
    """One job with its newest runs, `limit` of them; a run's report shows the caller's tenant only."""
    principal = await staff_of(request, Scope.JOBS_READ, *_READERS)
    return json_response(await _desk(request, principal).show(name, limit=limit_of(request, default=20)))


@router.post("/jobs/{name}/runs", status_code=202, responses=answers("the run", JobRun, 404, status=202))
async def run_job(request: Request, name: str) -> Response:
    """Ask for a run now. It is stored before this answers, and begins a moment later."""
    principal = await staff_of(request, Scope.JOBS_WRITE, Role.OPERATOR, Role.ADMIN)
    return json_response(await _desk(request, principal).run(name), 202)
