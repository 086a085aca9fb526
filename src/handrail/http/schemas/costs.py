"""What models cost in a time."""

from typing import Literal

from pydantic import Field

from handrail.http.schemas.shared import At, Resource
from handrail.http.schemas.usage import Micros


class CallSums(Resource):
    """Calls of models, their tokens and what they cost."""

    calls: int = Field(ge=0)
    input_tokens: int = Field(ge=0)
    output_tokens: int = Field(ge=0)
    cached_tokens: int = Field(ge=0, description="Input tokens that the provider told to be from its cache.")
    cost_micros: Micros | None = Field(description="Of the calls whose cost is known; null where none is.")
    unpriced_calls: int = Field(ge=0, description="Calls that `cost_micros` does not cover.")


class TimeCalls(CallSums):
    """Of one hour or day (UTC), by when turns were sent."""

    at: At


class ModelCalls(CallSums):
    """Of one model, by the name that the provider reported."""

    provider: str
    model: str


class AgentCalls(CallSums):
    """Of one agent."""

    agent: str


class ReleaseCalls(CallSums):
    """Of one release."""

    release_id: str
    agent: str
    instructions: str | None = Field(
        description="The beginning of their hash, as in traces; null when not stored here."
    )


class IntentCalls(CallSums):
    """Of one intent; null is none."""

    intent: str | None


class UnpricedModel(Resource):
    """Calls of a model without a known cost, by why."""

    provider: str
    model: str
    reason: Literal["no_price", "no_tokens", "broken_off", "lost"]
    calls: int = Field(ge=1)


class CostPerConversation(Resource):
    """Of the conversations that began in the time; sums of closed ones, null where nothing is known."""

    began: int = Field(ge=0)
    pending: int = Field(ge=0)
    closed: int = Field(ge=0)
    resolved: int = Field(ge=0)
    cost_per_conversation_micros: Micros | None
    cost_per_resolved_micros: Micros | None
    unpriced_calls: int = Field(ge=0, description="With any, costs are at least what is said.")


class Value(Resource):
    """What the same conversations were worth, in millionths of `currency`."""

    value_micros: int
    currency: str
    net_micros: int | None = Field(
        description="Value less cost, in millionths of a US dollar; null without value, and where the two are not "
        "comparable."
    )
    not_comparable: str | None = Field(description="Why not, and what to set.")


class Costs(CallSums):
    """What models cost in a time, and the same by time, model, agent, release and intent; the dearest first."""

    object: Literal["costs"]
    since: At
    until: At
    bucket: Literal["hour", "day"]
    agent: str | None
    release_id: str | None
    intent: str | None
    channel: str | None
    currency: Literal["USD"]
    before: CallSums = Field(description="Of a time as long, just before.")
    conversations: CostPerConversation
    value: Value
    series: list[TimeCalls]
    models: list[ModelCalls]
    agents: list[AgentCalls]
    releases: list[ReleaseCalls]
    intents: list[IntentCalls]
    unpriced: list[UnpricedModel]
