"""Times as people and programs write them."""

from datetime import UTC, datetime

from handrail.core.errors import UsageError


def micros_of(name: str, text: str) -> int:
    """Microseconds since 1970 of an RFC 3339 time or a date; without an offset it is UTC.

    Raises:
        UsageError: it is no time; `name` is what was meant to be one.
    """
    try:
        at = datetime.fromisoformat(text)
        return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1_000_000)
    except (ValueError, OverflowError):
        raise UsageError(f"{name} {text!r} is not a time such as 2026-11-27T08:00:00Z", param=name) from None
