"""The scorecard: success measures with their intervals, against the period before, the baseline and the targets."""

from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from starlette.requests import Request
from starlette.responses import Response

from handrail.core.principal import Principal, Role
from handrail.core.times import micros_of
from handrail.flows.scorecard import ScorecardDesk, scorecards
from handrail.flows.scorecard_body import baseline_body, scorecard_body
from handrail.http.errors import ApiError, json_response
from handrail.http.openapi import OF_BODIES, accepts, answers, query, reads
from handrail.http.requests import Name, Note, body_of, services_of, staff_of
from handrail.http.schemas.insight import Baseline, BaselineList, Scorecard
from handrail.protection.auth import Scope
from handrail.reports.filters import NARROWS

router = APIRouter(prefix="/v1", tags=["insight"], default_response_class=Response)
_STAFF = (Role.VIEWER, Role.REVIEWER, Role.APPROVER, Role.OPERATOR, Role.ADMIN)
_AGENT = query("agent", "Of this agent; the first one when left out.")


class GivenMeasure(BaseModel):
    """What a measure was before there was an agent, from how many observations."""

    model_config = ConfigDict(extra="forbid")

    value: float = Field(allow_inf_nan=False)
    n: int = Field(ge=1, le=1_000_000_000)
    deviation: float | None = Field(default=None, ge=0, allow_inf_nan=False, description="Of one observation.")


class BaselineCreate(BaseModel):
    """Without `measures` the baseline is what was measured in the period."""

    model_config = ConfigDict(extra="forbid")

    agent: Name | None = None
    since: Annotated[str, StringConstraints(max_length=40)] | None = Field(default=None, description="RFC 3339.")
    until: Annotated[str, StringConstraints(max_length=40)] | None = Field(default=None, description="RFC 3339.")
    note: Note | None = None
    measures: dict[str, GivenMeasure] | None = Field(default=None, min_length=1)


def _desk(request: Request, principal: Principal) -> ScorecardDesk:
    services = services_of(request)
    return scorecards(services, principal)


@router.get(
    "/scorecard",
    openapi_extra=reads(
        _AGENT,
        query("since", "Conversations that began from this time on; a week ago when left out.", format="date-time"),
        query("until", "And before this time; now when left out.", format="date-time"),
        query("release_id", "Of this release only."),
        query("intent", "Of this intent only."),
        query("channel", "Of this channel only."),
        query(
            "baseline", "Against the baseline with this number; the newest when left out.", type="integer", minimum=1
        ),
    ),
    responses=answers("a scorecard", Scorecard, 404, *OF_BODIES),
)
async def get_scorecard(request: Request) -> Response:
    """The success measures of a period. Conversations whose window is still open are counted as pending."""
    principal = await staff_of(request, Scope.INSIGHT_READ, *_STAFF)
    given = request.query_params
    number = given.get("baseline")
    if number is not None and not (number.isascii() and number.isdigit() and len(number) < 7):
        raise ApiError("invalid_request", f"baseline {number!r} is not a number", param="baseline")
    report = await _desk(request, principal).report(
        **{name: given.get(name) for name in NARROWS},
        since=micros_of("since", given["since"]) if "since" in given else None,
        until=micros_of("until", given["until"]) if "until" in given else None,
        baseline=None if number is None else int(number),
    )
    return json_response(scorecard_body(report))


@router.get(
    "/scorecard/baselines", openapi_extra=reads(_AGENT), responses=answers("a list of baselines", BaselineList, 404)
)
async def list_baselines(request: Request) -> Response:
    """All baselines of an agent, newest first."""
    principal = await staff_of(request, Scope.INSIGHT_READ, *_STAFF)
    found = await _desk(request, principal).baselines(request.query_params.get("agent"))
    return json_response({"data": [baseline_body(each) for each in found], "next_cursor": None})


@router.post(
    "/scorecard/baselines",
    status_code=201,
    openapi_extra=accepts(BaselineCreate),
    responses=answers("the baseline", Baseline, 404, *OF_BODIES, status=201),
)
async def create_baseline(request: Request) -> Response:
    """Keep a baseline under the agent's next number. None is ever changed."""
    principal = await staff_of(request, Scope.INSIGHT_WRITE, Role.OPERATOR, Role.ADMIN)
    body, _ = await body_of(request, BaselineCreate)
    measures = None
    if body.measures is not None:
        measures = {key: each.model_dump(exclude_none=True) for key, each in body.measures.items()}
    made = await _desk(request, principal).record_baseline(
        body.agent,
        measures=measures,
        since=micros_of("since", body.since) if body.since else None,
        until=micros_of("until", body.until) if body.until else None,
        note=body.note,
    )
    return json_response(baseline_body(made), 201)
