"""What a network or a provider may do wrong: the faults of `FaultProxy`."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Latency:
    """Each answer begins `seconds` later, give or take up to `jitter_seconds`."""

    seconds: float
    jitter_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Refused:
    """Nobody listens: connections are refused, open ones are reset."""


@dataclass(frozen=True, slots=True)
class Reset:
    """The connection is reset (RST) once `after_bytes` of an answer have passed; 0 resets before the request does."""

    after_bytes: int = 0


@dataclass(frozen=True, slots=True)
class HalfOpen:
    """Connections are accepted and requests are swallowed; nothing is ever answered or closed."""


@dataclass(frozen=True, slots=True)
class SlowDrip:
    """Answers arrive `size` bytes at a time, `every_seconds` apart."""

    size: int = 1
    every_seconds: float = 0.05


@dataclass(frozen=True, slots=True)
class Truncated:
    """The connection is closed properly in the middle of an answer.

    After `after_bytes` of it, or after `after_events` whole server-sent events and half a line of the next.
    """

    after_bytes: int | None = None
    after_events: int | None = None

    def __post_init__(self) -> None:
        if (self.after_bytes is None) == (self.after_events is None):
            raise ValueError("Truncated needs after_bytes or after_events, one of the two")


@dataclass(frozen=True, slots=True)
class Answer:
    """Every HTTP request is answered by the proxy itself; the upstream never hears of it."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


def rate_limit_storm(retry_after_seconds: float | None = 1) -> Answer:
    """429 to everything, with `Retry-After` unless it is `None`."""
    headers = {} if retry_after_seconds is None else {"retry-after": f"{retry_after_seconds:g}"}
    return Answer(429, b'{"error":{"message":"too many requests","type":"rate_limit_error"}}', headers)


def server_error(status: int = 500, retry_after_seconds: float | None = None) -> Answer:
    """500 (or another status) to everything."""
    headers = {} if retry_after_seconds is None else {"retry-after": f"{retry_after_seconds:g}"}
    return Answer(status, b'{"error":{"message":"the fault proxy failed as told","type":"server_error"}}', headers)


def malformed_json() -> Answer:
    """200 to everything, with JSON that breaks off."""
    return Answer(200, b'{"id":"broken","choices":[{"message":{"content":"hel')


Fault = Latency | Refused | Reset | HalfOpen | SlowDrip | Truncated | Answer
