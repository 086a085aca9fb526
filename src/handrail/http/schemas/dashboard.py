"""The dashboard's numbers."""

from typing import Literal

from pydantic import Field

from handrail.http.schemas.insight import Measured
from handrail.http.schemas.shared import At, Resource


class Share(Resource):
    """So many of so many, one by one, with its interval at 95 %; `value` is null of nothing."""

    value: float | None
    low: float | None
    high: float | None
    count: int = Field(ge=0)
    n: int = Field(ge=0)
    is_enough: bool = Field(description="Whether there are enough to show more than a count.")


class Ratings(Resource):
    """The mean of users' ratings, 1 to 5."""

    value: float | None
    n: int = Field(ge=0)


class Sums(Resource):
    """What turns and conversations came to. Shares of conversations are of closed ones."""

    turns: int = Field(ge=0)
    conversations: int = Field(ge=0)
    pending: int = Field(ge=0, description="Conversations whose window is still open.")
    closed: int = Field(ge=0)
    resolved: Share
    completed: Share
    escalated: Share
    errors: Share = Field(description="Turns that ended in an error.")
    tool_failures: Share
    p50_ms: float | None
    p95_ms: float | None
    cost_micros: int | None = Field(description="Of the model calls whose price is known; null where none is.")
    unpriced_calls: int = Field(ge=0)
    cost_per_conversation_micros: int | None
    cost_per_resolved_micros: int | None
    value_micros: int
    csat: Ratings
    thumbs_up: Share


class TimeSums(Sums):
    """Of one hour or day (UTC): turns by when they were sent, conversations by when they began."""

    at: At
    p95_simple_ms: float | None
    p95_medium_ms: float | None
    p95_complex_ms: float | None


class IntentSums(Sums):
    """Of one intent; null is none."""

    intent: str | None


class InstructionsSums(Sums):
    """Of all releases that have the same instructions: turns that they answered, conversations that began with them."""

    hash: str | None = Field(description="As in traces; null of a release that is not stored here.")
    agent: str | None
    releases: list[str] = Field(min_length=1)


class ReasonCount(Resource):
    """How often one thing was why."""

    reason: str
    count: int = Field(ge=1)


class ClassLatency(Resource):
    """Times to the whole answer, at most 5 % off."""

    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    turns: int = Field(ge=0)


class Before(Resource):
    """The newest baseline of the agent, by measures of the scorecard; money is in `currency`."""

    agent: str
    version: int = Field(ge=1)
    note: str | None
    currency: str
    measures: dict[str, Measured]


class Dashboard(Sums):
    """What the agents did in a time, and the same by time, intent and instructions."""

    object: Literal["dashboard"]
    since: At
    until: At
    bucket: Literal["hour", "day"]
    agent: str | None
    release_id: str | None
    intent: str | None
    channel: str | None
    fewest: int
    note: str
    false_cache_hits: Share = Field(description="Of the verified answers from the cache; of all agents and intents.")
    currency: Literal["USD"] = Field(description="Of costs.")
    value_currency: str
    baseline: Before | None = Field(
        description="Of the agent that is asked for, or the only one; null where a release, an intent or a channel is "
        "asked for, or none was kept. Before and after is not cause and effect."
    )
    latency: dict[Literal["simple", "medium", "complex"], ClassLatency]
    series: list[TimeSums]
    intents: list[IntentSums]
    instructions: list[InstructionsSums]
    escalation_reasons: list[ReasonCount]
    error_types: list[ReasonCount]
    guardrails: list[ReasonCount]
