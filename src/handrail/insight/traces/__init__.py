"""Traces: what happened in a turn, span by span, and how long each took.

Acts beside the turn: it appends plain tuples, hands them over when it has ended, and a background task writes them and
sends them on. Fails open: what the database or a collector does not take in time is dropped and counted, and no turn
waits. No span holds content, unless the deployment asks for it redacted.
"""

from handrail.insight.traces.exporter import Collector, OtlpExporter
from handrail.insight.traces.policy import Sampling
from handrail.insight.traces.recording import FinishedTrace, Kind, Span, SpanLink, TurnTrace, root_span_id, span_id
from handrail.insight.traces.retention import OLD_TRACES, TraceRetention
from handrail.insight.traces.store import StoredTrace, TraceStore
from handrail.insight.traces.waterfall import Bar, waterfall
from handrail.insight.traces.writer import TraceWriter

__all__ = [
    "OLD_TRACES",
    "Bar",
    "Collector",
    "FinishedTrace",
    "Kind",
    "OtlpExporter",
    "Sampling",
    "Span",
    "SpanLink",
    "StoredTrace",
    "TraceRetention",
    "TraceStore",
    "TraceWriter",
    "TurnTrace",
    "root_span_id",
    "span_id",
    "waterfall",
]
