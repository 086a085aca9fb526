"""W3C Trace Context: what is going on belongs to a trace, the caller's or a fresh one, and calls that go out say so."""

import hashlib
import re
import secrets
from contextvars import ContextVar
from dataclasses import dataclass

# W3C Trace Context: version ff and ids of zeros are invalid; a version after 00 may bring more fields.
_TRACEPARENT = re.compile(
    r"(?!ff)(?P<version>[0-9a-f]{2})-(?!0{32})(?P<trace>[0-9a-f]{32})-(?P<span>(?!0{16})[0-9a-f]{16})"
    r"-(?P<flags>[0-9a-f]{2})(?P<more>-.*)?"
)
# At most 32 members; what is longer than every receiver must keep is not kept.
_TRACESTATE = re.compile(r"[\x20-\x7e]{1,512}")
_SAMPLED = 1


@dataclass(frozen=True, slots=True)
class TraceContext:
    """Where something belongs.

    Attributes:
        parent_id: the caller's span; none for who begins a trace.
        is_sampled: what the caller said, passed on as it is; it decides nothing here.
        state: the caller's `tracestate`, passed on as it is.
    """

    trace_id: str
    parent_id: str | None = None
    is_sampled: bool = True
    state: str | None = None

    def traceparent(self, span_id: str) -> str:
        """The header of a call that one of our spans makes."""
        return f"00-{self.trace_id}-{span_id}-{'01' if self.is_sampled else '00'}"


_current: ContextVar[TraceContext | None] = ContextVar("handrail_trace", default=None)


def trace_context(traceparent: str | None = None, tracestate: str | None = None) -> TraceContext:
    """What the headers say, or the beginning of a fresh trace when they say nothing that is valid."""
    found = _TRACEPARENT.fullmatch(traceparent) if traceparent and len(traceparent) <= 512 else None
    if found is None or (found["version"] == "00" and found["more"]):
        return TraceContext(secrets.token_hex(16))
    state = tracestate if tracestate and _TRACESTATE.fullmatch(tracestate) else None
    return TraceContext(found["trace"], found["span"], bool(int(found["flags"], 16) & _SAMPLED), state)


def begin_trace(traceparent: str | None = None, tracestate: str | None = None) -> str:
    """Make a trace the current one of this task and of the tasks it starts; returns its id."""
    context = trace_context(traceparent, tracestate)
    _current.set(context)
    return context.trace_id


def enter_trace(context: TraceContext) -> None:
    """Go on in a trace that began elsewhere."""
    _current.set(context)


def trace_named(name: str) -> TraceContext:
    """The trace of what goes on under a name, the same in every process and after every start."""
    return TraceContext(hashlib.blake2b(name.encode(), digest_size=16).hexdigest())


def current_trace() -> TraceContext | None:
    """`None` outside a request and outside a turn."""
    return _current.get()


def current_trace_id() -> str | None:
    """The id of it."""
    context = _current.get()
    return context.trace_id if context is not None else None
