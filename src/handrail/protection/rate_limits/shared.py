"""One rate a principal, exact over any number of processes: one atomic script on the shared server's clock."""

import hashlib
from collections.abc import Callable

from handrail.core.principal import Principal
from handrail.protection.rate_limits.limiter import RateLimited, RateLimiter
from handrail.protection.rate_limits.policy import RateDecision, look
from handrail.shared_state import Unreachable, Valkey

# `policy.decide` in the server's words, in microseconds: the time of the full burst moves on by an interval a turn.
_SCRIPT = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local interval, most = tonumber(ARGV[1]), tonumber(ARGV[1]) * tonumber(ARGV[2])
local full_at = math.max(tonumber(redis.call('GET', KEYS[1]) or now), now)
local left = full_at + interval - now
if left > most then
  return {0, 0, full_at - now, left - most}
end
redis.call('SET', KEYS[1], string.format('%.0f', full_at + interval), 'PX', math.ceil(left / 1000))
return {1, math.floor((most - left) / interval), left, 0}
"""
_LOOK = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
return math.max(tonumber(redis.call('GET', KEYS[1]) or now) - now, 0)
"""
_CHARGE = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local full_at = math.max(tonumber(redis.call('GET', KEYS[1]) or now), now) + tonumber(ARGV[1])
redis.call('SET', KEYS[1], string.format('%.0f', full_at), 'PX', math.ceil((full_at - now) / 1000) + 1)
return 0
"""
MICROS = 1_000_000


class SharedRateLimiter:
    """Turns a minute for every principal, counted once for all processes.

    Open: without the shared server each process counts for itself, with `local`, and says so to `on_degraded`.
    """

    def __init__(
        self,
        valkey: Valkey,
        local: RateLimiter,
        *,
        per_minute: float,
        burst: int,
        on_degraded: Callable[[], None] | None = None,
        what: str = "messages",
    ) -> None:
        self._valkey = valkey
        self._local = local
        self._per_minute = per_minute
        self._interval = round(60 * MICROS / per_minute)
        self._burst = burst
        self._on_degraded = on_degraded
        self._what = what

    async def require(self, principal: Principal) -> RateDecision:
        """Count one turn.

        Raises:
            RateLimited: it may not begin yet.
        """
        try:
            allowed, remaining, reset, retry_after = await self._valkey.ask(
                lambda client: client.eval(_SCRIPT, 1, self._key(principal), self._interval, self._burst)
            )
        except Unreachable:
            self._degraded()
            return self._local.require(principal)
        decision = RateDecision(bool(allowed), self._burst, remaining, reset / MICROS, retry_after / MICROS)
        if not decision.allowed:
            raise RateLimited(decision, self._per_minute, self._what)
        return decision

    async def check(self, principal: Principal) -> RateDecision:
        """Count nothing.

        Raises:
            RateLimited: nothing is left.
        """
        try:
            used = await self._valkey.ask(lambda client: client.eval(_LOOK, 1, self._key(principal)))
        except Unreachable:
            self._degraded()
            return self._local.check(principal)
        decision = look(used / MICROS, 0.0, 60 / self._per_minute, self._burst)
        if not decision.allowed:
            raise RateLimited(decision, self._per_minute, self._what)
        return decision

    async def charge(self, principal: Principal, amount: int) -> None:
        """Count what was used; `local` counts it as well, for when the server is gone."""
        micros = round(amount * 60 * MICROS / self._per_minute)
        try:
            await self._valkey.ask(lambda client: client.eval(_CHARGE, 1, self._key(principal), micros))
        except Unreachable:
            self._degraded()

    def _degraded(self) -> None:
        if self._on_degraded is not None:
            self._on_degraded()

    def _key(self, principal: Principal) -> str:
        return key_of(principal.tenant_id, principal.subject, self._what)


def key_of(tenant_id: str, subject: str, what: str) -> str:
    """Where a count lies on the server; nobody's name, since the server may be shared with others."""
    text = f"{len(tenant_id)}:{tenant_id}{subject}"
    place = "rate" if what == "messages" else f"rate:{what.replace(' ', '-')}"
    return f"handrail:{place}:{hashlib.sha256(text.encode()).hexdigest()[:32]}"
