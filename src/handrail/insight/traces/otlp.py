"""Traces as OTLP messages. Loads protobuf: imported only where an endpoint is set."""

from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from typing import NamedTuple

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Status
from opentelemetry.proto.trace.v1.trace_pb2 import Span as OtlpSpan

from handrail.insight.traces.recording import ROOT, FinishedTrace, Span, span_id
from handrail.insight.traces.semconv import CLIENT_KINDS, SCHEMA_URL, Value, attributes_of, name_of, openinference_kind

Content = Mapping[int, Mapping[str, str]]
# W3C's sampled bit; then, of the parent, that it is known whether it is another process's, and that it is.
_SAMPLED, _HAS_IS_REMOTE, _IS_REMOTE = 0x001, 0x100, 0x200


class Encoded(NamedTuple):
    """A request as it is sent, and how many spans are in it."""

    body: bytes
    spans: int


def encode(traces: Sequence[tuple[FinishedTrace, Content | None]], service: str) -> Encoded:
    """One request with all of them."""
    spans = [span for finished, content in traces for span in _spans(finished, content or {})]
    scope = InstrumentationScope(name="handrail", version=version("handrail"))
    # Phoenix has projects, and takes their names from nowhere else.
    names = [
        ("service.name", service),
        ("service.version", version("handrail")),
        ("openinference.project.name", service),
    ]
    resource = Resource(attributes=_pairs(names))
    of_scope = ScopeSpans(scope=scope, spans=spans, schema_url=SCHEMA_URL)
    request = ExportTraceServiceRequest(
        resource_spans=[ResourceSpans(resource=resource, scope_spans=[of_scope], schema_url=SCHEMA_URL)]
    )
    return Encoded(request.SerializeToString(), len(spans))


def rejected_of(answer: bytes) -> int:
    """How many spans a collector says it did not take, though it took the request; 0 when it says nothing readable."""
    try:
        return max(0, ExportTraceServiceResponse.FromString(answer).partial_success.rejected_spans)
    except DecodeError:
        return 0


def _spans(finished: FinishedTrace, content: Content) -> Iterable[OtlpSpan]:
    """Spans with a length; what has none is an event of the span it belongs to."""
    all_spans = finished.spans()
    longs = {each.number for each in all_spans if each.duration_micros is not None}
    events: dict[int, list[OtlpSpan.Event]] = {}
    for each in all_spans:
        if each.duration_micros is None:
            events.setdefault(each.parent if each.parent in longs else ROOT, []).append(_event(finished, each))
    for each in all_spans:
        if each.duration_micros is not None:
            yield _span(finished, each, content.get(each.number), events.get(each.number, []))


def _span(
    finished: FinishedTrace, span: Span, texts: Mapping[str, str] | None, events: Sequence[OtlpSpan.Event]
) -> OtlpSpan:
    trace, context = finished.trace, finished.trace.context
    is_root = span.number == ROOT
    parent = context.parent_id if is_root else span_id(trace.root, span.parent)
    flags = _HAS_IS_REMOTE | (_IS_REMOTE if is_root and parent else 0) | (_SAMPLED if context.is_sampled else 0)
    started = _nanos(finished, span)
    link = trace.link if is_root else None
    return OtlpSpan(
        trace_id=bytes.fromhex(context.trace_id),
        span_id=bytes.fromhex(span_id(trace.root, span.number)),
        trace_state=context.state or "",
        parent_span_id=bytes.fromhex(parent or ""),
        flags=flags,
        name=name_of(span),
        kind=OtlpSpan.SPAN_KIND_CLIENT if span.kind in CLIENT_KINDS else OtlpSpan.SPAN_KIND_INTERNAL,
        start_time_unix_nano=started,
        end_time_unix_nano=started + (span.duration_micros or 0) * 1_000,
        attributes=_pairs(
            [*attributes_of(finished, span, texts), ("openinference.span.kind", openinference_kind(span))]
        ),
        events=events,
        links=[OtlpSpan.Link(trace_id=bytes.fromhex(link.trace_id), span_id=bytes.fromhex(link.span_id))]
        if link
        else [],
        status=Status(code=Status.STATUS_CODE_ERROR if span.error else Status.STATUS_CODE_UNSET),
    )


def _event(finished: FinishedTrace, span: Span) -> OtlpSpan.Event:
    return OtlpSpan.Event(
        time_unix_nano=_nanos(finished, span), name=name_of(span), attributes=_pairs(attributes_of(finished, span))
    )


def _nanos(finished: FinishedTrace, span: Span) -> int:
    return (finished.started_at + span.started_micros) * 1_000


def _pairs(attributes: Iterable[tuple[str, Value]]) -> list[KeyValue]:
    return [KeyValue(key=name, value=_value(value)) for name, value in attributes]


def _value(value: Value) -> AnyValue:
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=value)
    if isinstance(value, float):
        return AnyValue(double_value=value)
    if isinstance(value, list):
        return AnyValue(array_value=ArrayValue(values=[AnyValue(string_value=each) for each in value]))
    return AnyValue(string_value=str(value))
