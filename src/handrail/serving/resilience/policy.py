"""What counts as a failure, when a breaker opens and closes, and how long to wait before a retry. Pure."""

import asyncio
import math
import random
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from handrail.core.errors import HandrailError
from handrail.core.models import ModelError

Outcome = Literal["success", "failure", "cancelled"]
# Clients that hear a shorter wait come back before anything can have changed, longer ones give up.
LEAST_RETRY_AFTER_SECONDS = 1.0
MOST_RETRY_AFTER_SECONDS = 60.0


class NotAttempted(HandrailError):
    """Refused by Handrail itself before anything was sent: surely without effect, and no news about who was spared."""

    retryable = True


class BreakerState(StrEnum):
    """`closed` lets calls through, `open` refuses them, `half_open` lets a few through to see."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """When one breaker opens and how it closes again; rates are shares from above 0 to 1.

    Attributes:
        window_calls: how many of the last calls are looked at.
        minimum_calls: with fewer than these nothing is concluded.
        failure_rate: this share of failed calls opens.
        slow_seconds: a call of this length is slow, whether it succeeded or not.
        slow_rate: this share of slow calls opens.
        open_seconds: how long nothing is let through, and how long a probe that never reports keeps its place.
        probes: calls let through after that, before it is decided.
        concurrent_probes: how many of them may run at once.
    """

    window_calls: int = 100
    minimum_calls: int = 10
    failure_rate: float = 0.5
    slow_seconds: float = 10.0
    slow_rate: float = 0.8
    open_seconds: float = 60.0
    probes: int = 10
    concurrent_probes: int = 3

    def __post_init__(self) -> None:
        if not 1 <= self.minimum_calls <= self.window_calls:
            raise ValueError(f"minimum_calls must be from 1 to window_calls, not {self.minimum_calls!r}")
        if not 1 <= self.concurrent_probes <= self.probes:
            raise ValueError(f"concurrent_probes must be from 1 to probes, not {self.concurrent_probes!r}")
        for name, rate in (("failure_rate", self.failure_rate), ("slow_rate", self.slow_rate)):
            if not 0 < rate <= 1:
                raise ValueError(f"{name} must be above 0 and at most 1, not {rate!r}")
        if self.slow_seconds <= 0 or self.open_seconds <= 0:
            raise ValueError(
                f"slow_seconds and open_seconds must be above 0, not {self.slow_seconds!r} and {self.open_seconds!r}"
            )


def outcome_of(error: BaseException | None) -> Outcome:
    """What the end of a call says about the system that was called; `None` is a call without an error.

    An error that is no use retrying was an answer: a refused request says nothing against who refused it.
    """
    if error is None:
        return "success"
    if isinstance(error, NotAttempted | asyncio.CancelledError) or not isinstance(error, Exception):
        return "cancelled"
    return "success" if isinstance(error, HandrailError) and not error.retryable else "failure"


def why_open(policy: BreakerPolicy, calls: int, failed: int, slow: int) -> str | None:
    """The reason to open after these calls, or `None` to stay closed."""
    if calls < policy.minimum_calls:
        return None
    excess = _excess(policy, calls, failed, slow)
    return f"of {calls} calls {excess}" if excess else None


def after_probe(policy: BreakerPolicy, calls: int, failed: int, slow: int) -> tuple[BreakerState, str]:
    """Where a half-open breaker goes after so many probes.

    It opens as soon as the rest of the probes can't mend the rate: a system that is still down gets no more of them.
    """
    if excess := _excess(policy, policy.probes, failed, slow):
        return BreakerState.OPEN, f"of {calls} probes {excess}"
    if calls < policy.probes:
        return BreakerState.HALF_OPEN, f"{calls} of {policy.probes} probes done"
    return BreakerState.CLOSED, f"{calls - failed} of {calls} probes succeeded"


def _excess(policy: BreakerPolicy, of: int, failed: int, slow: int) -> str | None:
    if failed / of >= policy.failure_rate:
        return f"{failed} failed"
    if slow / of >= policy.slow_rate:
        return f"{slow} took {policy.slow_seconds:g} s or longer"
    return None


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how soon one call is tried again.

    Attributes:
        attempts: the first one included; 1 never retries.
        base_seconds: the longest wait before the second attempt; each further one may wait twice as long.
        most_seconds: no backoff is longer, though a provider's `Retry-After` may be.
        least_attempt_seconds: what the deadline must leave for the attempt after the wait.
        budget_ratio: retries a call, on average over all calls of a key.
        budget_burst: retries that may be done at once after a quiet time, and at the start.
    """

    attempts: int = 3
    base_seconds: float = 0.2
    most_seconds: float = 5.0
    least_attempt_seconds: float = 0.1
    budget_ratio: float = 0.1
    budget_burst: int = 3

    def __post_init__(self) -> None:
        if self.attempts < 1 or self.budget_burst < 1:
            raise ValueError(
                f"attempts and budget_burst must be at least 1, not {self.attempts!r} and {self.budget_burst!r}"
            )
        if not 0 < self.base_seconds <= self.most_seconds or self.least_attempt_seconds < 0:
            raise ValueError(
                "a wait needs 0 < base_seconds <= most_seconds and least_attempt_seconds >= 0, "
                f"not {self.base_seconds!r}, {self.most_seconds!r} and {self.least_attempt_seconds!r}"
            )
        if not 0 <= self.budget_ratio <= 1:
            raise ValueError(f"budget_ratio must be from 0 to 1, not {self.budget_ratio!r}")


def is_worth_retrying(error: BaseException, *, replayable: bool = False) -> bool:
    """Whether the same call may be made again.

    Never after the user has seen text, unless `replayable`: a second answer would say something else. Nor after a
    refusal of our own: the next rung of the ladder is better than waiting for the same closed door.
    """
    if isinstance(error, NotAttempted) or not isinstance(error, HandrailError) or not error.retryable:
        return False
    return replayable or not (isinstance(error, ModelError) and error.after_text)


def next_delay(
    policy: RetryPolicy,
    attempt: int,
    error: BaseException,
    remaining_seconds: float,
    rng: random.Random,
    *,
    replayable: bool = False,
    most_seconds: float | None = None,
) -> float | None:
    """Seconds to wait after the failed attempt number `attempt` (from 1), or `None` to give up.

    `most_seconds` is for those who have something better to do than to wait longer.

    Full jitter: anything from 0 to the backoff, so that callers that failed together do not come back together.
    `Retry-After` is waited out in full and the jitter comes on top; one that the deadline does not allow ends it.
    """
    if attempt >= policy.attempts or not is_worth_retrying(error, replayable=replayable):
        return None
    told = error.retry_after_seconds if isinstance(error, HandrailError) else None
    least = max(told or 0.0, 0.0)
    room = remaining_seconds - policy.least_attempt_seconds - least
    if most_seconds is not None:
        room = min(room, most_seconds - least)
    if room <= 0:
        return None
    # Beyond 2**30 the backoff is at its most anyway, and an unbounded power would overflow.
    backoff = min(policy.most_seconds, policy.base_seconds * 2 ** min(attempt - 1, 30))
    return least + rng.random() * min(backoff, room)


def retry_after_seconds(waiting: int, most_running: int, mean_seconds: float) -> float:
    """When a place should be free for who comes after `waiting` others, told to a client; 1 to 60 seconds."""
    estimate = (waiting + 1) * mean_seconds / most_running
    return float(math.ceil(min(max(estimate, LEAST_RETRY_AFTER_SECONDS), MOST_RETRY_AFTER_SECONDS)))
