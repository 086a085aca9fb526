"""Approvals: what waits for people, their decisions and questions, and how fast they decide."""

from typing import Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from handrail.core.errors import HandrailError
from handrail.core.principal import Role
from handrail.flows.approval import MOST_AT_ONCE, ApprovalConflict, Picked, decide, decide_identical
from handrail.flows.approval_desk import look_closely, pace, shown_to
from handrail.flows.question import MOST_CHARACTERS, answer_question, waiting_of
from handrail.flows.veil import seen_by, veil_of_turn
from handrail.http.errors import STATUS, ApiError, error_body, json_response
from handrail.http.openapi import CURSOR, OF_BODIES, accepts, answers, query, reads, up_to
from handrail.http.requests import NO_ZERO, body_of, limit_of, principal_of, services_of, staff_of
from handrail.http.schemas.approvals import (
    Approval,
    ApprovalList,
    ApproverList,
    DecisionConflict,
    DecisionOutcomeList,
    Question,
    TurnApprovalList,
    WholeApproval,
)
from handrail.protection.auth import Scope

router = APIRouter(prefix="/v1", tags=["approvals"], default_response_class=Response)
_READERS = (Role.VIEWER, Role.REVIEWER, Role.APPROVER, Role.OPERATOR, Role.ADMIN)
_REASON = Field(None, max_length=2000, pattern=NO_ZERO, description="The agent sees why it was rejected.")


class DecisionMade(BaseModel):
    """What a person decides, about the call with this fingerprint and no other."""

    model_config = ConfigDict(extra="forbid")

    decision: Literal["approve", "reject", "edit", "info"] = Field(
        description="`edit` approves other arguments; `info` asks the requester and decides nothing."
    )
    fingerprint: str = Field(min_length=1, max_length=200, description="As it was shown.")
    reason: str | None = _REASON
    arguments: dict[str, Any] | None = Field(None, description="With `edit`: the whole new arguments.")


class ShownApproval(BaseModel):
    """An approval and the fingerprint of its call as it was shown."""

    model_config = ConfigDict(extra="forbid")

    id: str = Field(min_length=1, max_length=100)
    fingerprint: str = Field(min_length=1, max_length=200)


class DecisionsMade(BaseModel):
    """One decision on the same action asked for several times."""

    model_config = ConfigDict(extra="forbid")

    decision: Literal["approve", "reject"]
    reason: str | None = _REASON
    approvals: list[ShownApproval] = Field(min_length=1, max_length=MOST_AT_ONCE)


class AnswerGiven(BaseModel):
    """What the requester answers to an approver's question."""

    model_config = ConfigDict(extra="forbid")

    question_id: str = Field(min_length=1, max_length=100)
    answer: str = Field(min_length=1, max_length=MOST_CHARACTERS)


@router.get(
    "/approvals",
    openapi_extra=reads(
        query("status", "Those that wait, or every one.", enum=["pending", "all"], default="pending"),
        query("mine", "`true`: only what the caller may decide.", enum=["true", "false"], default="false"),
        CURSOR,
        up_to(),
    ),
    responses=answers("a list of approvals", ApprovalList),
)
async def list_approvals(request: Request) -> Response:
    """What waits, oldest first; with `status=all` every approval, newest first. Pages by `cursor` and `limit`.

    With `mine=true` only what the caller may decide themselves; a page may then be shorter than its limit.
    """
    principal = await staff_of(request, Scope.APPROVALS_READ, *_READERS)
    services, limit = services_of(request), limit_of(request)
    status, cursor = request.query_params.get("status", "pending"), request.query_params.get("cursor")
    if status == "pending":
        found = await services.approvals.list_pending(principal.tenant_id, cursor=cursor, limit=limit)
    elif status == "all":
        found = await services.approvals.newest(principal.tenant_id, before=cursor, limit=limit)
    else:
        raise ApiError("invalid_request", f"status {status!r} is not 'pending' or 'all'", param="status")
    shown = await shown_to(services, principal, found)
    if request.query_params.get("mine") == "true":
        shown = [each for each in shown if each.may_decide]
    next_cursor = found[-1].id if len(found) == limit else None
    return json_response({"data": [each.body() for each in shown], "next_cursor": next_cursor})


@router.get(
    "/approvals/{approval_id}", responses=answers("an approval with its votes and questions", WholeApproval, 404)
)
async def get_approval(request: Request, approval_id: str) -> Response:
    """One approval, what people said to it, and what is still missing."""
    principal = await staff_of(request, Scope.APPROVALS_READ, *_READERS)
    services = services_of(request)
    return json_response((await look_closely(services, principal, approval_id)).whole_body())


@router.post(
    "/approvals/{approval_id}/decision",
    openapi_extra=accepts(DecisionMade),
    responses=answers("the approval", Approval, 404, 409, *OF_BODIES, conflict=DecisionConflict),
)
async def decide_approval(request: Request, approval_id: str) -> Response:
    """Approve, reject, approve with other arguments, or ask. A second decision gets 409 with the first one's result."""
    # Which of the staff may decide it, by role, team or delegation, is for the approval's own rules to say.
    principal = await staff_of(request, Scope.APPROVALS_DECIDE, *_READERS)
    body, _ = await body_of(request, DecisionMade)
    services = services_of(request)
    try:
        decided = await decide(
            services,
            principal,
            approval_id,
            body.decision,
            fingerprint=body.fingerprint,
            reason=body.reason,
            arguments=body.arguments,
        )
    except ApprovalConflict as conflict:
        if conflict.approval is None:
            raise
        first = {"approval": seen_by(services, principal, conflict.approval).body(await services.approvals.now())}
        return json_response(error_body(conflict.code, conflict.message) | first, STATUS[conflict.code])
    return json_response(seen_by(services, principal, decided).body(await services.approvals.now()))


@router.post(
    "/approvals/decisions",
    openapi_extra=accepts(DecisionsMade),
    responses=answers("a list of outcomes", DecisionOutcomeList, 404, *OF_BODIES),
)
async def decide_approvals(request: Request) -> Response:
    """Approve or reject the same action asked for several times. Each gets its own vote, and its own outcome here."""
    principal = await staff_of(request, Scope.APPROVALS_DECIDE, *_READERS)
    body, _ = await body_of(request, DecisionsMade)
    services = services_of(request)
    picked = [Picked(each.id, each.fingerprint) for each in body.approvals]
    outcomes = await decide_identical(services, principal, picked, body.decision, body.reason)
    now = await services.approvals.now()
    data: list[dict[str, Any]] = []
    for each, outcome in zip(picked, outcomes, strict=True):
        failed = isinstance(outcome, HandrailError)
        error = error_body(outcome.code, outcome.message)["error"] if failed else None
        data.append(
            {
                "id": each.id,
                "approval": None if failed else seen_by(services, principal, outcome).body(now),
                "error": error,
            }
        )
    return json_response({"data": data, "next_cursor": None})


@router.get(
    "/approvers",
    openapi_extra=reads(
        query("days", "So many days back.", type="number", exclusiveMinimum=0, maximum=366, default=30),
        query("hasty_seconds", "Faster is hasty.", type="number", exclusiveMinimum=0, maximum=3600, default=3),
    ),
    responses=answers("a list of approvers", ApproverList),
)
async def list_approvers(request: Request) -> Response:
    """How fast each approver decides, the hastiest first. `days` (30) back; hasty is under `hasty_seconds` (3)."""
    principal = await staff_of(request, Scope.APPROVALS_READ, *_READERS)
    days, hasty = _number(request, "days", 30, 366), _number(request, "hasty_seconds", 3, 3600)
    found = await pace(services_of(request), principal, days=days, hasty_seconds=hasty)
    return json_response({"data": [each.body() for each in found], "next_cursor": None})


@router.get(
    "/turns/{turn_id}/approvals", responses=answers("a list of what the turn asked people for", TurnApprovalList, 404)
)
async def turn_approvals(request: Request, turn_id: str) -> Response:
    """What a turn waits or waited for, with the approvers' questions: for the user whose turn it is."""
    principal = await principal_of(request, Scope.CONVERSATIONS_READ)
    services = services_of(request)
    turn = await services.conversations.require_turn(principal, turn_id)
    veil = await veil_of_turn(services, principal, turn)
    data = [veil.over(each.body()) for each in await waiting_of(services, turn)]
    return json_response({"data": data, "next_cursor": None})


@router.post(
    "/turns/{turn_id}/answers",
    openapi_extra=accepts(AnswerGiven),
    responses=answers("the question with its answer", Question, 404, 409, *OF_BODIES),
)
async def answer(request: Request, turn_id: str) -> Response:
    """Answer an approver's question, once. Only the user who asked for the action can."""
    principal = await principal_of(request, Scope.TURNS_WRITE)
    body, _ = await body_of(request, AnswerGiven)
    question = await answer_question(services_of(request), principal, turn_id, body.question_id, body.answer)
    return json_response(question.body())


def _number(request: Request, name: str, default: float, most: float) -> float:
    text = request.query_params.get(name, str(default))
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value <= most:
        raise ApiError("invalid_request", f"{name} {text!r} is not a number above 0, up to {most:g}", param=name)
    return value
