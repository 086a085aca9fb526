"""Releases, for operators. Making one runs the project's code, so that is the local operator's alone."""

from pathlib import Path

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from handrail.core.principal import Principal, Role
from handrail.flows.release_desk import ReleaseDesk
from handrail.http.errors import json_response
from handrail.http.openapi import OF_BODIES, accepts, answers, query, reads, up_to
from handrail.http.requests import NO_ZERO, Name, Note, body_of, limit_of, local_operator_of, services_of, staff_of
from handrail.http.schemas.operations import Release, ReleaseDiff, ReleaseList, ReleaseWithFiles, UsedAgent
from handrail.protection.auth import Scope

router = APIRouter(prefix="/v1", tags=["releases"], default_response_class=Response)
_READERS = (Role.VIEWER, Role.REVIEWER, Role.APPROVER, Role.OPERATOR, Role.ADMIN)


class ReleaseCreate(BaseModel):
    """Make a release of a project on the server's own disk."""

    model_config = ConfigDict(extra="forbid")

    project: str = Field(
        min_length=1, max_length=4096, pattern=NO_ZERO, description="Folder of the agent project, as an absolute path."
    )
    note: Note | None = None
    author: Name | None = None


def _desk(request: Request, principal: Principal) -> ReleaseDesk:
    return ReleaseDesk(services_of(request).releases, principal)


@router.get(
    "/releases",
    openapi_extra=reads(query("agent", "Of this agent."), up_to(1000)),
    responses=answers("a list of releases", ReleaseList),
)
async def list_releases(request: Request) -> Response:
    """The tenant's releases, newest first; `agent` narrows it to one."""
    principal = await staff_of(request, Scope.RELEASES_READ, *_READERS)
    found = await _desk(request, principal).list(request.query_params.get("agent"), limit_of(request, most=1000))
    return json_response({"data": found, "next_cursor": None})


@router.get("/releases/{release_id}", responses=answers("a release with its files", ReleaseWithFiles, 404))
async def get_release(request: Request, release_id: str) -> Response:
    """One release, by its id or the beginning of one."""
    principal = await staff_of(request, Scope.RELEASES_READ, *_READERS)
    return json_response(await _desk(request, principal).show(release_id))


@router.get(
    "/releases/{release_id}/diff",
    openapi_extra=reads(
        query("new", "The other release."), query("project", "A folder on the server's disk: local operator only.")
    ),
    responses=answers("what changed", ReleaseDiff, 404, 422),
)
async def diff_releases(request: Request, release_id: str) -> Response:
    """What another release (`new`), or a project on the server's disk (`project`), changes against this one."""
    new, project = request.query_params.get("new"), request.query_params.get("project")
    principal = await (local_operator_of(request) if new is None else staff_of(request, Scope.RELEASES_READ, *_READERS))
    return json_response(await _desk(request, principal).diff(release_id, new, Path(project or ".")))


@router.post(
    "/releases",
    status_code=201,
    openapi_extra=accepts(ReleaseCreate),
    responses=answers("a release", Release, *OF_BODIES, status=201),
)
async def create_release(request: Request) -> Response:
    """Check the project and keep a snapshot of it; the same files give the same release."""
    principal = await local_operator_of(request)
    body, _ = await body_of(request, ReleaseCreate)
    return json_response(await _desk(request, principal).create(Path(body.project), body.note, body.author), 201)


@router.post("/releases/{release_id}/use", responses=answers("the agent", UsedAgent, 404, 422))
async def use_release(request: Request, release_id: str) -> Response:
    """Let a release answer all new conversations of its agent."""
    principal = await staff_of(request, Scope.RELEASES_WRITE, Role.OPERATOR)
    return json_response(await _desk(request, principal).use(release_id))
