"""Spans under the names of OpenTelemetry's GenAI conventions 0.1.0 (decision 22); what these have no name for is
`handrail.*`. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

from handrail.core import json
from handrail.insight.traces.recording import ROOT, FinishedTrace, Span

SCHEMA_URL = "https://opentelemetry.io/schemas/1.45.0"
# These are calls of others; what else there is happens here.
CLIENT_KINDS = frozenset({"chat"})
_OPERATIONS = frozenset({"invoke_agent", "chat", "execute_tool"})
Value = str | int | float | bool | list[str]

_CHAT: Mapping[str, str] = {
    "provider": "gen_ai.provider.name",
    "model": "gen_ai.request.model",
    "response_model": "gen_ai.response.model",
    "input_tokens": "gen_ai.usage.input_tokens",
    "output_tokens": "gen_ai.usage.output_tokens",
    "cached_tokens": "gen_ai.usage.cache_read.input_tokens",
    "cost_micros": "handrail.cost_micros",
    "rung": "handrail.rung",
}
_TOOL: Mapping[str, str] = {"call_id": "gen_ai.tool.call.id", "status": "handrail.tool.status"}
_ROOT: Mapping[str, str] = {
    "input_tokens": "gen_ai.usage.input_tokens",
    "output_tokens": "gen_ai.usage.output_tokens",
    "cost_micros": "handrail.cost_micros",
    "action": "handrail.route.action",
}
# Phoenix draws and filters spans by kinds of its own, and older ones of it read no others.
_OPENINFERENCE: Mapping[str, str] = {
    "invoke_agent": "AGENT",
    "chat": "LLM",
    "execute_tool": "TOOL",
    "guardrail": "GUARDRAIL",
}
_TABLES: Mapping[str, Mapping[str, str]] = {"chat": _CHAT, "execute_tool": _TOOL, "invoke_agent": _ROOT}


def name_of(span: Span) -> str:
    """`chat gpt-5`, `execute_tool refund`, `handrail.route`."""
    return f"{span.kind} {span.name}" if span.kind in _OPERATIONS else f"handrail.{span.kind}"


def openinference_kind(span: Span) -> str:
    """What OpenInference calls such a span."""
    return _OPENINFERENCE.get(span.kind, "CHAIN")


def attributes_of(
    finished: FinishedTrace, span: Span, texts: Mapping[str, str] | None = None
) -> Iterator[tuple[str, Value]]:
    """What a span says; values that nobody knows are left out.

    Args:
        texts: redacted, if the deployment keeps any.
    """
    if span.kind in _OPERATIONS:
        yield "gen_ai.operation.name", span.kind
        yield "gen_ai.conversation.id", finished.conversation_id
        # The general name, by which Langfuse and Phoenix put the turns of a conversation together.
        yield "session.id", finished.conversation_id
        yield "gen_ai.agent.name", finished.agent
    elif span.name:
        yield f"handrail.{span.kind}.name", span.name
    if span.error is not None:
        yield "error.type", span.error
    table = _TABLES.get(span.kind)
    for key, value in span.attributes.items():
        name = table.get(key) if table is not None else f"handrail.{span.kind}.{key}"
        if name is not None and value is not None:
            yield name, [str(each) for each in value] if isinstance(value, list | tuple) else value
    yield from _own(finished, span)
    yield from _said(finished, texts or {})


def _own(finished: FinishedTrace, span: Span) -> Iterator[tuple[str, Value]]:
    """What is not simply another name for what is stored."""
    attributes = span.attributes
    if span.number == ROOT:
        yield "gen_ai.agent.version", finished.release_id
        yield from _whose(finished)
    elif span.kind == "chat":
        yield "gen_ai.request.stream", True
        if (first := attributes.get("first_chunk_micros")) is not None:
            yield "gen_ai.response.time_to_first_chunk", first / 1e6
        if (reason := attributes.get("finish_reason")) is not None:
            yield "gen_ai.response.finish_reasons", [reason]
    elif span.kind == "execute_tool":
        yield "gen_ai.tool.name", span.name
        yield "gen_ai.tool.type", "function"


def _whose(finished: FinishedTrace) -> Iterator[tuple[str, Value]]:
    yield "handrail.tenant.id", finished.tenant_id
    yield "handrail.turn.id", finished.turn_id
    yield "handrail.turn.status", finished.status
    yield "handrail.release.id", finished.release_id
    yield "handrail.channel", finished.channel
    yield "handrail.instructions.hash", finished.instructions_hash
    yield "handrail.overhead_micros", finished.overhead_micros
    if finished.intent:
        yield "handrail.intent", finished.intent
    if finished.variant:
        yield "handrail.variant", finished.variant
    if finished.epoch > 1:
        yield "handrail.takeover", finished.epoch


def _said(finished: FinishedTrace, texts: Mapping[str, str]) -> Iterator[tuple[str, Value]]:
    if "input" in texts:
        yield "gen_ai.input.messages", json.dumps([_message("user", texts["input"])])
    if "output" in texts:
        # The conventions require a reason of an output message; readers drop one without.
        reason = "error" if finished.error_code else "stop"
        yield (
            "gen_ai.output.messages",
            json.dumps([{**_message("assistant", texts["output"]), "finish_reason": reason}]),
        )
    for name in ("arguments", "result"):
        if name in texts:
            yield f"gen_ai.tool.call.{name}", texts[name]


def _message(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "parts": [{"type": "text", "content": text}]}
