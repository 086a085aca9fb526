"""What is said about conversations: feedback, values, verdicts of reviews, verified cache hits."""

from typing import Annotated, cast, get_args

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from starlette.requests import Request
from starlette.responses import Response

from handrail.flows.feedback import (
    READERS,
    RECORDERS,
    REVIEWERS,
    EventWanted,
    FeedbackWanted,
    VerdictWanted,
    feedback_of,
    give_feedback,
    give_verdict,
    newest_feedback,
    record_event,
    verify_hit,
)
from handrail.http.errors import ApiError, json_response
from handrail.http.openapi import CURSOR, OF_BODIES, accepts, answers, query, reads, success, up_to
from handrail.http.requests import (
    SAYS_SOMETHING,
    Name,
    body_of,
    limit_of,
    principal_of,
    services_of,
    staff_of,
)
from handrail.http.schemas.feedback import CacheVerification, Feedback, FeedbackList, ReviewVerdict, ValueEvent
from handrail.insight.feedback import FeedbackKind, Sample
from handrail.protection.auth import Scope

router = APIRouter(prefix="/v1", tags=["feedback"], default_response_class=Response)
KINDS = get_args(FeedbackKind)
# A billion of the currency's units, in millionths.
MOST_MICROS = 10**15
Comment = Annotated[str, StringConstraints(min_length=1, max_length=2000, pattern=SAYS_SOMETHING)]


class FeedbackCreate(BaseModel):
    """A word on a conversation, or on one turn of it."""

    model_config = ConfigDict(extra="forbid", strict=True)

    kind: FeedbackKind
    score: Annotated[int, Field(ge=-1, le=10)] | None = Field(
        None, description="thumb: 1 or -1; csat: 1 to 5; nps: 0 to 10; resolved: 1 or 0; text: none."
    )
    comment: Comment | None = None
    turn_id: Name | None = Field(None, description="The turn it is about; the whole conversation when left out.")


class EventCreate(BaseModel):
    """Something of worth that came of a conversation."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: Name
    idempotency_key: Name = Field(description="The same key again is the same event, for good.")
    amount_micros: Annotated[int, Field(ge=-MOST_MICROS, le=MOST_MICROS)] | None = Field(
        None, description="In millionths of the currency; below zero to correct an earlier one."
    )
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")] | None = None
    turn_id: Name | None = None


class VerdictCreate(BaseModel):
    """What a reviewer found of one turn; leave out what was not looked at."""

    model_config = ConfigDict(extra="forbid", strict=True)

    turn_id: Name
    sample: Sample = Field(description="routine: drawn at random; policy: drawn because of something.")
    inclusion_probability: Annotated[float, Field(ge=1e-6, le=1, allow_inf_nan=False)] = Field(
        description="How likely this turn was to be drawn."
    )
    intent_correct: bool | None = None
    hallucination: bool | None = None
    action_correct: bool | None = None
    resolved: bool | None = None


class VerificationCreate(BaseModel):
    """Whether an answer from the cache was right for what was asked."""

    model_config = ConfigDict(extra="forbid", strict=True)

    hit: Name = Field(description="The id of the hit, or a hash of its text; never the text.")
    correct: bool


@router.post(
    "/conversations/{conversation_id}/feedback",
    status_code=201,
    openapi_extra=accepts(FeedbackCreate),
    responses=answers("the feedback", Feedback, 404, 409, *OF_BODIES, 429, status=201)
    | {200: success("it was said before", Feedback)},
)
async def create_feedback(request: Request, conversation_id: str) -> Response:
    """Say something of one's own conversation, or as staff of anybody's. A later word on the same replaces it."""
    principal = await principal_of(request, Scope.FEEDBACK_WRITE)
    body, _ = await body_of(request, FeedbackCreate)
    wanted = FeedbackWanted(**body.model_dump())
    given, is_new = await give_feedback(services_of(request), principal, conversation_id, wanted)
    return json_response(given.body(), 201 if is_new else 200)


@router.get("/conversations/{conversation_id}/feedback", responses=answers("what was said", FeedbackList, 404))
async def list_feedback_of(request: Request, conversation_id: str) -> Response:
    """What was ever said of a conversation, oldest first; its user sees their own words, staff all."""
    principal = await principal_of(request, Scope.FEEDBACK_READ)
    found = await feedback_of(services_of(request), principal, conversation_id)
    return json_response({"data": found, "next_cursor": None})


@router.get(
    "/feedback",
    openapi_extra=reads(query("kind", "Of this kind.", enum=[*KINDS]), CURSOR, up_to()),
    responses=answers("what people say", FeedbackList),
)
async def list_feedback(request: Request) -> Response:
    """What holds now, newest first. Personal data in comments is masked."""
    principal = await staff_of(request, Scope.FEEDBACK_READ, *READERS)
    kind, limit = request.query_params.get("kind"), limit_of(request)
    if kind is not None and kind not in KINDS:
        raise ApiError("invalid_request", f"kind {kind!r} is not one of {', '.join(KINDS)}", param="kind")
    found = await newest_feedback(
        services_of(request),
        principal,
        cast(FeedbackKind | None, kind),
        before=request.query_params.get("cursor"),
        limit=limit,
    )
    cursor = found[-1].id if len(found) == limit else None
    return json_response({"data": [each.body() for each in found], "next_cursor": cursor})


@router.post(
    "/conversations/{conversation_id}/events",
    status_code=201,
    openapi_extra=accepts(EventCreate),
    responses=answers("the event", ValueEvent, 404, 409, *OF_BODIES, status=201)
    | {200: success("the same key recorded it before", ValueEvent)},
)
async def create_event(request: Request, conversation_id: str) -> Response:
    """Record what came of a conversation; for other systems, with an operator's key narrowed to `values:write`."""
    principal = await staff_of(request, Scope.VALUES_WRITE, *RECORDERS)
    body, _ = await body_of(request, EventCreate)
    given = body.model_dump()
    wanted = EventWanted(key=given.pop("idempotency_key"), **given)
    event, is_new = await record_event(services_of(request), principal, conversation_id, wanted)
    return json_response(event.body(), 201 if is_new else 200)


@router.post(
    "/conversations/{conversation_id}/verdicts",
    status_code=201,
    openapi_extra=accepts(VerdictCreate),
    responses=answers("the verdict", ReviewVerdict, 404, 409, *OF_BODIES, status=201),
)
async def create_verdict(request: Request, conversation_id: str) -> Response:
    """Say what a review of one turn found; a later verdict of the same reviewer replaces it."""
    principal = await staff_of(request, Scope.REVIEWS_WRITE, *REVIEWERS)
    body, _ = await body_of(request, VerdictCreate)
    verdict = await give_verdict(services_of(request), principal, conversation_id, VerdictWanted(**body.model_dump()))
    return json_response(verdict.body(), 201)


@router.post(
    "/cache/verifications",
    status_code=201,
    openapi_extra=accepts(VerificationCreate),
    responses=answers("the verification", CacheVerification, 409, *OF_BODIES, status=201),
)
async def create_verification(request: Request) -> Response:
    """Say whether an answer from the cache was right; a later word on the same hit replaces it."""
    principal = await staff_of(request, Scope.REVIEWS_WRITE, *REVIEWERS)
    body, _ = await body_of(request, VerificationCreate)
    made = await verify_hit(services_of(request), principal, body.hit, correct=body.correct)
    return json_response(made.body(), 201)
