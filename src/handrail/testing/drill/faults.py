"""The matrix's faults as the fault proxy knows them."""

from handrail.testing.drill.shop import RETRY_AFTER_SECONDS
from handrail.testing.faults import (
    Answer,
    Fault,
    HalfOpen,
    Latency,
    Refused,
    Reset,
    SlowDrip,
    Truncated,
    malformed_json,
    rate_limit_storm,
)

LARGE_BYTES = 4 * 1024 * 1024
_MOMENT = 0.05


def fault_of(name: str, *, streams: bool) -> Fault | None:
    """What the proxy does; `None` for a fault that is made elsewhere. Whole events of a stream pass."""
    match name:
        case "latency":
            return Latency(_MOMENT)
        case "jitter":
            return Latency(_MOMENT, jitter_seconds=_MOMENT)
        case "reset":
            return Reset()
        case "half_open":
            return HalfOpen()
        case "slow_drip":
            return SlowDrip(size=1, every_seconds=_MOMENT)
        case "truncated":
            return Truncated(after_events=2) if streams else Truncated(after_bytes=20)
        case "rate_limited":
            return rate_limit_storm(RETRY_AFTER_SECONDS)
        case "malformed_json":
            return malformed_json()
        case "too_large" if streams:
            return Answer(200, b"x" * LARGE_BYTES, {"content-type": "text/event-stream"})
        case "not_json":
            return Answer(200, b"<html><body>Welcome</body></html>", {"content-type": "text/html"})
        case "down":
            return Refused()
        case _:
            return None
