"""How often anybody may do what, by the settings."""

from dataclasses import dataclass

from handrail.core.clock import Clock
from handrail.protection.rate_limits import AddressRate, Rate, RateLimiter
from handrail.settings import Settings
from handrail.telemetry.metrics import Metrics

CONVERSATIONS_A_TURN = 10
SIGN_INS = "attempts to sign in from one address"
REQUESTS = "requests from one address"
FAILURES = "keys and tokens from one address that do not work"


@dataclass(frozen=True, slots=True)
class Terms:
    """One rate, as the settings have it."""

    what: str
    per_minute: float
    burst: int


def rate_of(clock: Clock, wanted: Terms) -> Rate:
    return Rate(RateLimiter(clock, per_minute=wanted.per_minute, burst=wanted.burst, what=wanted.what))


def sign_in_terms(settings: Settings) -> Terms:
    return Terms(SIGN_INS, settings.console.sign_ins_per_minute, settings.console.sign_ins_burst)


def conversation_terms(settings: Settings) -> Terms:
    limits = settings.rate_limit
    per_minute = limits.conversations_per_minute or CONVERSATIONS_A_TURN * limits.turns_per_minute
    return Terms("conversations", per_minute, limits.conversations_burst or CONVERSATIONS_A_TURN * limits.burst)


def request_terms(settings: Settings) -> Terms:
    return Terms(REQUESTS, settings.rate_limit.requests_per_minute, settings.rate_limit.requests_burst)


def failure_terms(settings: Settings) -> Terms:
    return Terms(FAILURES, settings.rate_limit.failures_per_minute, settings.rate_limit.failures_per_minute)


def address_rates(settings: Settings, clock: Clock, metrics: Metrics) -> AddressRate:
    local = rate_of(clock, request_terms(settings)).local
    return AddressRate(local, on_refused=lambda: metrics.refused_by_rate("requests"))


CHANNEL_TESTS = Terms("channel tests", 6, 3)


def feedback_terms(settings: Settings) -> Terms:
    return Terms("feedback", settings.feedback.per_minute, settings.feedback.burst)


def token_terms(settings: Settings) -> Terms | None:
    tokens = settings.rate_limit.tokens_per_minute
    # A minute's tokens at once: one long answer must not wait for its own end.
    return Terms("tokens", tokens, tokens) if tokens else None


def turn_rates(settings: Settings, clock: Clock) -> RateLimiter:
    return RateLimiter(clock, per_minute=settings.rate_limit.turns_per_minute, burst=settings.rate_limit.burst)
