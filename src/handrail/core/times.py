"""Times as people and programs write them."""

import re
from datetime import UTC, date, datetime, time, timedelta

from handrail.core.errors import UsageError

# Beyond them a time is a slip of the hand, or milliseconds taken for a year.
FIRST, END = date(1971, 1, 1), date(2200, 1, 1)
DAY_MICROS = 24 * 3600 * 1_000_000
_SHOWN = 60
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class InvalidPeriod(UsageError):
    """A period that ends before it begins, or is too long."""

    code = "invalid_period"


def micros_of(name: str, text: str) -> int:
    """Microseconds since 1970 of an RFC 3339 time or a date; without an offset it is UTC.

    Raises:
        UsageError: it is no time, or one of another century; `name` is what was meant to be one.
    """
    return (_read(name, text, "a time such as 2026-11-27T08:00:00Z") - _EPOCH) // timedelta(microseconds=1)


def day_of(name: str, text: str) -> date:
    """A day (UTC), also when it is written as the time at which it begins.

    Raises:
        UsageError: it is no day, or one of another century; `name` is what was meant to be one.
    """
    at = _read(name, text, "a day such as 2026-11-27").astimezone(UTC)
    if at.time() != time():
        raise UsageError(
            f"{name} {text!r} is within a day, and days are counted whole (UTC): say {at:%Y-%m-%d}", param=name
        )
    return at.date()


def require_order(since: int, until: int) -> None:
    """Raises `InvalidPeriod` for a period that does not end after it begins."""
    if since >= until:
        begins, ends = (datetime.fromtimestamp(each / 1_000_000, UTC).isoformat() for each in (since, until))
        raise InvalidPeriod(
            f"the period ends before it begins: since {begins} is not before until {ends}",
            param="since",
        )


def _read(name: str, text: str, wanted: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
        at = at if at.tzinfo else at.replace(tzinfo=UTC)
        is_near = FIRST <= at.astimezone(UTC).date() < END
    except (ValueError, OverflowError):
        # What an address says as `+` arrives as a space.
        hint = "; in an address write + as %2B" if re.search(r"\d \d\d:?\d\d$", text) else ""
        raise UsageError(f"{name} {text[:_SHOWN]!r} is not {wanted}{hint}", param=name) from None
    if not is_near:
        raise UsageError(f"{name} {text!r} is not between the years {FIRST.year} and {END.year}", param=name)
    return at
