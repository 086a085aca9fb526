"""What is measured: scorecards and baselines."""

from typing import Literal

from pydantic import Field

from handrail.http.schemas.shared import At, Page, Resource


class Measured(Resource):
    """An estimate with its interval at 95 % and its sample; all null where nothing was measured."""

    value: float | None
    low: float | None
    high: float | None
    n: int = Field(ge=0, description="Observations.")
    users: int | None = Field(
        ge=0, description="Users they came from; the interval counts them, not observations. Null of percentiles."
    )
    is_enough: bool = Field(description="Whether there are enough users to show more than a count.")


class Change(Resource):
    """A difference with its interval at 95 %."""

    value: float
    low: float | None
    high: float | None


class ScorecardLine(Measured):
    """One success measure, beside the period before, the baseline and the target."""

    key: str
    title: str
    group: Literal["business", "technical", "quality"]
    kind: Literal["share", "mean", "money", "minutes", "points", "seconds"]
    better: Literal["higher", "lower"]
    of: str
    definition: str
    previous: Measured
    change: Change | None
    baseline: Measured | None
    change_from_baseline: Change | None
    target: float | None
    verdict: Literal["met", "missed", "unclear", "too_few", "not_measured", "no_target"]


class BaselineRecord(Resource):
    """What the measures were before; never changed."""

    id: str
    object: Literal["baseline"]
    agent: str
    version: int = Field(ge=1)
    source: Literal["measured", "given"]
    note: str | None
    since: At | None
    until: At | None
    release_id: str | None
    currency: str | None = Field(description="Of its money; null of one that was kept before this was written down.")
    created_by: str
    created_at: At


class Baseline(BaselineRecord):
    """A baseline with its measures."""

    measures: dict[str, Measured]


class BaselineList(Page[Baseline]):
    """Baselines, newest first."""


class CountedConversations(Resource):
    """What a report rests on; pending conversations are not in it, for their window has not closed."""

    closed: int = Field(ge=0)
    pending: int = Field(ge=0)
    users: int = Field(ge=0)


class HumanCost(Resource):
    """What one conversation costs when a person has it."""

    amount: float
    minutes: float | None
    source: str


class Part(Resource):
    """A share of turns, counted one by one, with its interval at 95 %."""

    value: float | None
    low: float | None
    high: float | None
    n: int = Field(ge=0)
    is_enough: bool


class Budget(Part):
    """A share that must be good, and the error budget that it leaves: null of few turns."""

    objective: float
    bad: int = Field(ge=0)
    budget_left: float | None = Field(description="Of 1; below 0 the objective is missed.")
    burn_rate: float | None = Field(description="1 uses the budget up exactly at the end of the window.")


class LatencyBudget(Budget):
    """Turns of a class that must be answered within its limit."""

    latency_class: Literal["simple", "medium", "complex"]
    seconds: float


class BurnWindows(Resource):
    """How fast the budget burns in a long window and in the end of it; too fast when both reach the factor."""

    long_seconds: int
    short_seconds: int
    factor: float
    long_rate: float | None
    short_rate: float | None
    is_too_fast: bool


class Objectives(Resource):
    """Service level objectives at the end of the period; `burn` is empty where its windows are not told."""

    agent: str
    window_days: int
    since: At
    until: At
    availability: Budget
    burn: list[BurnWindows]
    latency: list[LatencyBudget]
    differing: list[str] = Field(description="Where `alerts.yaml` holds the agent to something else.")


class ErrorType(Part):
    """Turns that ended in one type of error, and how many did in the period before."""

    type: str
    count: int = Field(ge=0)
    previous_count: int = Field(ge=0)


class Scorecard(Resource):
    """The success measures of an agent in a period."""

    object: Literal["scorecard"]
    agent: str
    release_id: str
    since: At
    until: At
    currency: str = Field(description="Of all money in it.")
    not_comparable: list[str] = Field(description="Money that is left out for want of a rate, and what to set.")
    conversations: CountedConversations
    resolution_window_hours: float
    unpriced_calls: int = Field(ge=0, description="Model calls without a known price: costs are at least what is said.")
    human_cost: HumanCost | None
    baseline: BaselineRecord | None
    fewest_users: int
    note: str
    measures: list[ScorecardLine]
    objectives: Objectives
    errors: list[ErrorType]
