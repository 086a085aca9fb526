"""Is it alive, is it ready, what is it counting."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from handrail.flows.readiness import readiness
from handrail.http.errors import json_response
from handrail.http.openapi import OF_OPEN, TEXT, answers, success
from handrail.http.requests import services_of
from handrail.http.schemas.operations import Health, Readiness

router = APIRouter(tags=["health"], default_response_class=Response)


@router.get("/healthz", responses=answers("it lives", Health, always=OF_OPEN))
async def healthz() -> Response:
    """The process answers."""
    return json_response({"status": "ok"})


@router.get(
    "/readyz",
    responses=answers("turns are taken", Readiness, always=OF_OPEN) | {503: success("none are taken now", Readiness)},
)
async def readyz(request: Request) -> Response:
    """What is on, what is off, and whether turns can be taken: 200 or 503."""
    ready, body = await readiness(services_of(request))
    return json_response(body, 200 if ready else 503)


@router.get("/metrics", responses=answers("what was counted", None, 429, always=OF_OPEN, also={TEXT: None}))
async def metrics(request: Request) -> Response:
    """Prometheus text format."""
    return Response(services_of(request).metrics.render(), media_type="text/plain; version=0.0.4; charset=utf-8")
