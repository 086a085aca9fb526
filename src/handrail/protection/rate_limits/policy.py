"""The generic cell rate algorithm: one number a principal, no window edges to game. Pure."""

import math
from dataclasses import dataclass
from typing import NamedTuple

# Seconds by which sums of floats may be off; far below any interval that a limit can have.
ROUNDING = 1e-9
MOST_LEASE_SECONDS = 5.0
# Two for each of 64 processes: one that went ahead of its question, one that was more than was left.
ROOM = 128


class RateDecision(NamedTuple):
    """What to answer and what to tell the client.

    Attributes:
        limit: turns that may begin at once.
        remaining: of these, how many are left now.
        reset_seconds: until all of them are back.
        retry_after_seconds: until one is; 0 when this turn is allowed.
    """

    allowed: bool
    limit: int
    remaining: int
    reset_seconds: float
    retry_after_seconds: float


def decide(full_at: float, now: float, interval: float, burst: int) -> tuple[RateDecision, float]:
    """Whether one more may begin at `now`, and the new `full_at`.

    `full_at` is when the whole burst is available again (any past time for somebody new); each turn that is allowed
    moves it on by `interval` seconds. A refusal moves nothing, so asking again costs nothing.
    """
    start = max(full_at, now)
    after = start + interval
    most = burst * interval
    if after - now > most + ROUNDING:
        return RateDecision(False, burst, 0, start - now, after - now - most), full_at
    remaining = math.floor((most - (after - now) + ROUNDING) / interval)
    return RateDecision(True, burst, remaining, after - now, 0.0), after


def look(full_at: float, now: float, interval: float, burst: int) -> RateDecision:
    """Whether anything is left, for what is counted only once it is known how much it was."""
    used, most = max(full_at - now, 0.0), burst * interval
    if used >= most - ROUNDING:
        return RateDecision(False, burst, 0, used, used - most + interval)
    return RateDecision(True, burst, math.floor((most - used + ROUNDING) / interval), used, 0.0)


def charged(full_at: float, now: float, interval: float, amount: int) -> float:
    """The new `full_at` after `amount` was used; it may be more than was left, and then nothing is for longer."""
    return max(full_at, now) + amount * interval


@dataclass(frozen=True, slots=True)
class LeaseTerms:
    """How processes take permits of one rate ahead without more of them being used than the rate has.

    Attributes:
        limit: what may begin at once, as it was asked for.
        burst: of these, what the shared server gives out: what lies with processes and what went ahead of it is on top.
        seconds: how long permits are good in the process that took them.
        most: how many it takes at once.
    """

    per_minute: float
    limit: int
    burst: int
    seconds: float
    most: int


def lease_terms(per_minute: float, burst: int) -> LeaseTerms | None:
    """The terms that fit a rate; None when its burst is too small for anything to be taken ahead.

    In any stretch of time are used at most the permits given out in it, and those given out up to `seconds` before it:
    these are what the rate brings back in `seconds`. Each process has one more that went ahead of its question.
    """
    if burst < 4 * ROOM:
        return None
    seconds = min(MOST_LEASE_SECONDS, burst / 4 * 60 / per_minute)
    kept = math.ceil(per_minute / 60 * seconds) + ROOM
    return LeaseTerms(per_minute, burst, burst - kept, seconds, max(1, min(64, (burst - kept) // 8)))
