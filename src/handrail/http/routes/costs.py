"""The figures of the console's page of costs."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from handrail.flows.costs import costs_body
from handrail.http.openapi import answers, reads
from handrail.http.routes.dashboard import QUERY, figures_asked
from handrail.http.schemas.costs import Costs

router = APIRouter(prefix="/v1", tags=["insight"], default_response_class=Response)


@router.get("/costs", openapi_extra=reads(*QUERY), responses=answers("the costs", Costs, 404))
async def get_costs(request: Request) -> Response:
    """What calls of models cost in a time: by the hour up to three days, else by the day."""
    return await figures_asked(request, costs_body, counts="calls")
