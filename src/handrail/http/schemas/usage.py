"""Calls of models, their tokens and costs."""

from typing import Annotated, Literal

from pydantic import Field

from handrail.http.schemas.shared import At, Page, Resource

Day = Annotated[str, Field(json_schema_extra={"format": "date"})]
Micros = Annotated[int, Field(description="Millionths of a US dollar.")]


class UsageLine(Resource):
    """Calls with something in common; null is what they were not told apart by, or what nobody told."""

    day: Day | None
    agent: str | None
    provider: str | None
    model: str | None
    release_id: str | None
    intent: str | None
    calls: int = Field(ge=0)
    input_tokens: int | None
    output_tokens: int | None
    cached_tokens: int | None
    cost_micros: Micros | None
    unpriced_calls: int = Field(ge=0, description="Calls that `cost_micros` does not cover.")


class UnpricedCalls(Resource):
    """Calls without a cost; with `no_tokens` nobody told what they used, and no price gives them one but `free`."""

    provider: str
    model: str
    release_id: str
    reason: Literal["no_price", "no_tokens"]
    calls: int = Field(ge=1)
    input_tokens: int | None
    output_tokens: int | None
    first_at: At
    last_at: At


class UsageReport(Resource):
    """The ledger of some days."""

    object: Literal["usage"]
    currency: Literal["USD"]
    since: Day
    until: Day
    data: list[UsageLine]
    total: UsageLine
    unpriced: list[UnpricedCalls]
    unpriced_models: list[str] = Field(description="Models of loaded releases of which nobody knows a price.")


class Forecast(Resource):
    """What the period comes to; the range holds eight of ten such periods, and is null when too little is known."""

    expected_micros: Micros
    low_micros: Micros | None
    high_micros: Micros | None
    basis: str


class BudgetStatus(Resource):
    """One budget now; `until` is the first day after it."""

    object: Literal["budget"]
    name: str
    tenant: str
    agent: str | None
    period: Literal["day", "month"]
    since: Day
    until: Day
    budget_micros: Micros
    spent_micros: Micros
    used: float
    currency: Literal["USD"]
    unpriced_calls: int = Field(ge=0, description="Calls of unknown price: with any, more is spent than is said.")
    reached_on: Day | None = Field(
        description="The day on which all of it was spent, or will be at this pace; null when not in its period."
    )
    forecast: Forecast | None


class BudgetList(Page[BudgetStatus]):
    """Budgets."""
