"""The times that reports and lists offer, so that a number and the list behind it are of the same time.

They begin with a whole hour, because that is what sums are kept by.
"""

from collections.abc import Mapping

from handrail.core.errors import UsageError

HOUR = 3600 * 1_000_000
DAY = 24 * HOUR
RANGES: Mapping[str, int] = {"24h": DAY, "7d": 7 * DAY, "28d": 28 * DAY, "90d": 90 * DAY}
RANGE_NAMES: Mapping[str, str] = {"24h": "24 hours", "7d": "7 days", "28d": "28 days", "90d": "90 days"}


def begun(name: str, now: int) -> int:
    """When the range that ends now began.

    Raises:
        UsageError: a range that is not among `RANGES`.
    """
    if name not in RANGES:
        raise UsageError(f"range {name[:40]!r} is not known; use one of {', '.join(RANGES)}", param="range")
    since = now - RANGES[name]
    return since - since % HOUR
