"""What calls of models cost, and how budgets stand."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from handrail.flows.spending import READERS, USUALLY, budgets_of, usage_of, wanted_of
from handrail.http.errors import json_response
from handrail.http.openapi import answers, query, reads
from handrail.http.requests import services_of, staff_of
from handrail.http.schemas.usage import BudgetList, UsageReport
from handrail.insight.costs import GROUPS
from handrail.protection.auth import Scope

router = APIRouter(prefix="/v1", tags=["usage"], default_response_class=Response)
TENANT = query("tenant", "Of another tenant: local operator only.")


@router.get(
    "/usage",
    openapi_extra=reads(
        query("since", "First day (UTC); 30 days with today when left out.", format="date"),
        query("until", "Last day (UTC); today when left out.", format="date"),
        query("by", f"What lines are told apart by, of {', '.join(GROUPS)}, by comma.", default=USUALLY),
        TENANT,
    ),
    responses=answers("calls, tokens and costs", UsageReport, 422),
)
async def get_usage(request: Request) -> Response:
    """Calls of models, their tokens and what they cost, of up to 92 days."""
    principal = await staff_of(request, Scope.USAGE_READ, *READERS)
    services = services_of(request)
    wanted = wanted_of(request.query_params, services.clock.micros())
    return json_response(await usage_of(services, principal, wanted))


@router.get("/budgets", openapi_extra=reads(TENANT), responses=answers("budgets as they stand", BudgetList))
async def list_budgets(request: Request) -> Response:
    """What is spent of each budget, and what it comes to if it goes on like this. They are watched and stop nothing."""
    principal = await staff_of(request, Scope.USAGE_READ, *READERS)
    found = await budgets_of(services_of(request), principal, request.query_params.get("tenant"))
    return json_response({"data": [each.body() for each in found], "next_cursor": None})
