"""Alerts: what is wrong, who was told, and what staff do about it."""

from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from starlette.requests import Request
from starlette.responses import Response

from handrail.core.principal import Role
from handrail.flows.alert_desk import MOST_HOURS, MOST_MATCHERS, AlertDesk, SilenceWanted, desk_of
from handrail.http.errors import ApiError, json_response
from handrail.http.openapi import CURSOR, OF_BODIES, accepts, answers, query, reads, up_to
from handrail.http.requests import Note, body_of, limit_of, services_of, staff_of
from handrail.http.schemas.alerts import AlertList, AlertRuleList, AlertTest, AlertWithNotices, Silence, SilenceList
from handrail.insight.alerts import RULES
from handrail.protection.auth import Scope

router = APIRouter(prefix="/v1", tags=["alerts"], default_response_class=Response)
_READERS = (Role.VIEWER, Role.REVIEWER, Role.APPROVER, Role.OPERATOR, Role.ADMIN)
_STATES = ("any", "pending", "firing", "resolved")
_Label = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]
_Value = Annotated[str, StringConstraints(min_length=1, max_length=120, pattern=r"^[^\x00]*$")]


class AlertAcknowledge(BaseModel):
    """That somebody looks after it."""

    model_config = ConfigDict(extra="forbid")

    note: Note | None = Field(None, description="For whoever looks next.")


class AlertSilenceCreate(BaseModel):
    """What nobody shall be told of, for how long, and why."""

    model_config = ConfigDict(extra="forbid")

    matchers: dict[_Label, _Value] = Field(
        default={},
        max_length=MOST_MATCHERS,
        description="Labels of the alerts, `rule` and `severity`; all must apply, and without any it is everything.",
    )
    hours: float = Field(gt=0, le=MOST_HOURS)
    starts_in_hours: float = Field(0, ge=0, le=MOST_HOURS, description="Later than now: planned maintenance.")
    reason: Note


async def _desk(request: Request, *roles: Role) -> AlertDesk:
    scope = Scope.ALERTS_READ if roles == _READERS else Scope.ALERTS_WRITE
    return desk_of(services_of(request), await staff_of(request, scope, *roles))


@router.get(
    "/alerts",
    openapi_extra=reads(
        query("state", "Only those.", enum=list(_STATES), default="any"),
        query("rule", "Only those of this rule.", enum=["any", *RULES], default="any"),
        up_to(),
        CURSOR,
    ),
    responses=answers("a list of alerts", AlertList),
)
async def list_alerts(request: Request) -> Response:
    """Alerts of the caller's tenant and of the deployment, newest first."""
    desk = await _desk(request, *_READERS)
    state, rule = (request.query_params.get(name, "any") for name in ("state", "rule"))
    if state not in _STATES:
        raise ApiError("invalid_request", f"state {state!r} is none of {', '.join(_STATES)}", param="state")
    if rule not in ("any", *RULES):
        raise ApiError("invalid_request", f"there is no rule {rule!r}", param="rule")
    cursor = request.query_params.get("cursor")
    return json_response(await desk.list(state=state, rule=rule, before=cursor, limit=limit_of(request)))


@router.get("/alerts/{alert_id}", responses=answers("an alert, with who was told", AlertWithNotices, 404))
async def get_alert(request: Request, alert_id: str) -> Response:
    """One alert, with who was told what and when."""
    desk = await _desk(request, *_READERS)
    return json_response(await desk.show(alert_id))


@router.post(
    "/alerts/{alert_id}/acknowledgement",
    openapi_extra=accepts(AlertAcknowledge),
    responses=answers("the alert, with who was told", AlertWithNotices, 404, 409, *OF_BODIES),
)
async def acknowledge_alert(request: Request, alert_id: str) -> Response:
    """Say that somebody looks after it: it is not escalated and not told again. The first one who does is on it."""
    desk = await _desk(request, Role.OPERATOR, Role.ADMIN)
    body, _ = await body_of(request, AlertAcknowledge)
    await desk.acknowledge(alert_id, body.note)
    return json_response(await desk.show(alert_id))


@router.get("/alert-rules", responses=answers("the rules", AlertRuleList))
async def list_rules(request: Request) -> Response:
    """Every rule as it is set, and what it said last."""
    desk = await _desk(request, *_READERS)
    return json_response(await desk.rules())


@router.get("/alert-silences", responses=answers("a list of silences", SilenceList))
async def list_silences(request: Request) -> Response:
    """Silences that hold or are planned."""
    desk = await _desk(request, *_READERS)
    return json_response({"data": await desk.silences(), "next_cursor": None})


@router.post(
    "/alert-silences",
    status_code=201,
    openapi_extra=accepts(AlertSilenceCreate),
    responses=answers("the silence", Silence, *OF_BODIES, status=201),
)
async def create_silence(request: Request) -> Response:
    """Tell nobody of what matches: of the caller's tenant, or of all for the local operator."""
    desk = await _desk(request, Role.OPERATOR, Role.ADMIN)
    body, _ = await body_of(request, AlertSilenceCreate)
    return json_response(await desk.silence(SilenceWanted(**body.model_dump())), 201)


@router.delete("/alert-silences/{silence_id}", responses=answers("the silence, ended", Silence, 404))
async def end_silence(request: Request, silence_id: str) -> Response:
    """Tell again."""
    desk = await _desk(request, Role.OPERATOR, Role.ADMIN)
    return json_response(await desk.end_silence(silence_id))


@router.post("/alert-channels/{channel}/tests", responses=answers("what became of it", AlertTest, 404))
async def test_channel(request: Request, channel: str) -> Response:
    """Send a message to a channel now; `error` says what went wrong."""
    desk = await _desk(request, Role.OPERATOR, Role.ADMIN)
    return json_response(await desk.test(channel))
