"""How a turn went, as operators see it."""

from typing import Any, Literal

from pydantic import Field

from handrail.http.schemas.shared import At, Page, Resource


class SpanRow(Resource):
    """A span, or several of a kind that are shown as one."""

    title: str = Field(description="As the conventions name spans, such as `chat gpt-5`.")
    kind: Literal[
        "invoke_agent",
        "chat",
        "execute_tool",
        "guardrail",
        "route",
        "approval",
        "cache",
        "fallback",
        "retry",
        "takeover",
    ]
    name: str
    depth: int = Field(ge=0, description="0 for the turn itself; below it comes what is part of it.")
    started_micros: int = Field(ge=0, description="Since the turn began.")
    duration_micros: int | None = Field(description="Null for an event.")
    error: str | None
    count: int = Field(ge=1, description="How many spans this row stands for.")
    attributes: dict[str, Any]
    texts: dict[str, str] = Field(description="Redacted; empty unless the deployment keeps them.")


class TraceLink(Resource):
    """The trace that this one goes on from."""

    trace_id: str
    span_id: str


class Trace(Resource):
    """One stretch of a turn that one process ran."""

    id: str
    object: Literal["trace"]
    trace_id: str = Field(pattern="^[0-9a-f]{32}$")
    parent_id: str | None = Field(description="The caller's span.")
    link: TraceLink | None
    conversation_id: str
    turn_id: str
    epoch: int = Field(ge=0, description="How often the turn has begun or gone on.")
    agent: str
    release_id: str
    intent: str | None
    variant: str | None
    channel: str
    latency_class: Literal["simple", "medium", "complex"] | None
    instructions_hash: str
    status: str
    error_code: str | None
    started_at: At
    duration_micros: int = Field(ge=0)
    overhead_micros: int = Field(description="Of it, what was not waiting for models and tools.")
    cost_micros: int | None = Field(description="Millionths of a US dollar; null when a price is not known.")
    spans: list[SpanRow] = Field(description="At most two hundred rows.")


class TraceList(Page[Trace]):
    """Traces of turns."""
