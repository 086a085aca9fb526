"""The trace id of what is going on, from the caller's `traceparent` or fresh."""

import re
import secrets
from contextvars import ContextVar

# W3C Trace Context: version ff and ids of zeros are invalid; a version after 00 may bring more fields.
_TRACEPARENT = re.compile(
    r"(?!ff)(?P<version>[0-9a-f]{2})-(?!0{32})(?P<trace>[0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?P<more>-.*)?"
)
_current: ContextVar[str | None] = ContextVar("handrail_trace_id", default=None)


def trace_id(traceparent: str | None = None) -> str:
    """The trace id in a `traceparent` header, or a fresh one: 32 hex digits either way."""
    found = _TRACEPARENT.fullmatch(traceparent) if traceparent and len(traceparent) <= 512 else None
    if found is None or (found["version"] == "00" and found["more"]):
        return secrets.token_hex(16)
    return found["trace"]


def begin_trace(traceparent: str | None = None) -> str:
    """Make a trace id the current one of this task and of the tasks it starts."""
    trace = trace_id(traceparent)
    _current.set(trace)
    return trace


def current_trace_id() -> str | None:
    """`None` outside a request."""
    return _current.get()
