"""The numbers of the console's dashboard."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from handrail.core.principal import Role
from handrail.flows.dashboard import DEFAULT_RANGE, dashboard_body, filters_of
from handrail.flows.known import require_known
from handrail.flows.ranges import RANGES
from handrail.flows.services import Services
from handrail.http.errors import json_response
from handrail.http.openapi import answers, query, reads
from handrail.http.requests import services_of, staff_of
from handrail.http.schemas.dashboard import Dashboard
from handrail.protection.auth import Scope
from handrail.reports.filters import Filters

router = APIRouter(prefix="/v1", tags=["insight"], default_response_class=Response)
STAFF = (Role.VIEWER, Role.REVIEWER, Role.APPROVER, Role.OPERATOR, Role.ADMIN)
# What all figures of a time may be narrowed to.
QUERY = (
    query("range", "The time until now.", enum=list(RANGES), default=DEFAULT_RANGE),
    query("agent", "Of this agent only."),
    query("release_id", "Of this release only."),
    query("intent", "Of this intent only."),
    query("channel", "Of this channel only."),
)
Figures = Callable[[Services, Filters], Awaitable[Mapping[str, Any]]]


@router.get("/dashboard", openapi_extra=reads(*QUERY), responses=answers("the dashboard", Dashboard, 404))
async def get_dashboard(request: Request) -> Response:
    """What the agents did in a time: by the hour up to three days, else by the day."""
    return await figures_asked(request, dashboard_body, counts="turns")


async def figures_asked(request: Request, figures: Figures, *, counts: str) -> Response:
    """To staff; without any under `counts`, a name that nothing has is `not_found`."""
    principal = await staff_of(request, Scope.INSIGHT_READ, *STAFF)
    services = services_of(request)
    filters = filters_of(principal.tenant_id, services.clock.micros(), request.query_params)
    body = await figures(services, filters)
    if not body[counts]:
        await require_known(services.db, services.releases, principal.tenant_id, filters.narrowed)
    return json_response(body)
