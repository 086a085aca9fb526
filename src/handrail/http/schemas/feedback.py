"""Feedback, values, verdicts and verified cache hits."""

from typing import Literal

from pydantic import Field

from handrail.http.schemas.shared import At, Page, Resource
from handrail.insight.feedback import FeedbackKind, Sample


class Feedback(Resource):
    """One person's word; `replaced_at` once they changed it."""

    id: str
    object: Literal["feedback"]
    conversation_id: str
    turn_id: str | None
    agent: str
    release_id: str
    intent: str | None
    kind: FeedbackKind
    score: int | None
    comment: str | None = Field(description="Staff see it without names and numbers of people.")
    source: Literal["user", "staff"]
    given_by: str
    created_at: At
    replaced_at: At | None


class FeedbackList(Page[Feedback]):
    """What people said."""


class ValueEvent(Resource):
    """Something of worth that came of a conversation."""

    id: str
    object: Literal["value_event"]
    conversation_id: str
    turn_id: str | None
    agent: str
    release_id: str
    intent: str | None
    name: str
    amount_micros: int | None
    currency: str | None
    recorded_by: str
    created_at: At


class ReviewVerdict(Resource):
    """What a reviewer found of one turn; null is not looked at."""

    id: str
    object: Literal["review_verdict"]
    conversation_id: str
    turn_id: str
    agent: str
    release_id: str
    intent: str | None
    intent_correct: bool | None
    hallucination: bool | None
    action_correct: bool | None
    resolved: bool | None
    sample: Sample
    inclusion_probability: float
    reviewer: str
    created_at: At


class CacheVerification(Resource):
    """Whether an answer from the cache was right."""

    id: str
    object: Literal["cache_verification"]
    hit: str
    correct: bool
    verified_by: str
    created_at: At
