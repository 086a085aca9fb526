"""One rate a principal, kept in memory."""

from collections import OrderedDict

from handrail.core.clock import Clock
from handrail.core.errors import HandrailError
from handrail.core.principal import Principal
from handrail.protection.rate_limits.policy import RateDecision, charged, decide, look

MOST_PRINCIPALS = 100_000
SWEPT_A_CALL = 2


class RateLimited(HandrailError):
    """Too many of something, which `name` names; `decision` says when the next one may be."""

    code = "rate_limited"
    retryable = True

    def __init__(self, decision: RateDecision, per_minute: float, what: str = "messages") -> None:
        super().__init__(
            f"too many {what}: {per_minute:g} a minute and {decision.limit} at once are allowed; "
            f"try again in {decision.retry_after_seconds:.1f} s",
            retry_after_seconds=decision.retry_after_seconds,
        )
        self.decision = decision
        self.name = "turns" if what == "messages" else what.replace(" ", "-")


class RateLimiter:
    """Turns a minute for every principal, by tenant and subject: a second key of the same user shares its rate.

    Args:
        per_minute: the average that may be kept up.
        burst: how many may begin at once after a pause.
        what: is counted, in a user's words.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        per_minute: float,
        burst: int,
        most_principals: int = MOST_PRINCIPALS,
        what: str = "messages",
    ) -> None:
        if per_minute <= 0 or burst < 1:
            raise ValueError(f"a rate needs per_minute > 0 and burst >= 1, not {per_minute!r} and {burst!r}")
        self._clock = clock
        self._per_minute = per_minute
        self._interval = 60.0 / per_minute
        self._burst = burst
        self._most = most_principals
        self._what = what
        self._full_at: OrderedDict[tuple[str, str], float] = OrderedDict()

    def require(self, principal: Principal) -> RateDecision:
        """Count one turn.

        Raises:
            RateLimited: it may not begin yet.
        """
        key = (principal.tenant_id, principal.subject)
        now = self._clock.monotonic()
        decision, full_at = decide(self._full_at.get(key, now), now, self._interval, self._burst)
        if not decision.allowed:
            raise RateLimited(decision, self._per_minute, self._what)
        self._keep(key, full_at, now)
        return decision

    def check(self, principal: Principal) -> RateDecision:
        """Count nothing.

        Raises:
            RateLimited: nothing is left.
        """
        now = self._clock.monotonic()
        full_at = self._full_at.get((principal.tenant_id, principal.subject), now)
        decision = look(full_at, now, self._interval, self._burst)
        if not decision.allowed:
            raise RateLimited(decision, self._per_minute, self._what)
        return decision

    def charge(self, principal: Principal, amount: int) -> None:
        """Count what was used, even beyond what was left."""
        key, now = (principal.tenant_id, principal.subject), self._clock.monotonic()
        self._keep(key, charged(self._full_at.get(key, now), now, self._interval, amount), now)

    def _keep(self, key: tuple[str, str], full_at: float, now: float) -> None:
        self._full_at[key] = full_at
        self._full_at.move_to_end(key)
        self._sweep(now)

    def __len__(self) -> int:
        """Principals remembered now."""
        return len(self._full_at)

    def _sweep(self, now: float) -> None:
        """Drop who has the whole burst back: being forgotten is the same to them. A few a call, so no call is slow."""
        for _ in range(SWEPT_A_CALL):
            oldest = next(iter(self._full_at))
            # Over the bound the one who was quiet longest goes, a few turns richer: memory matters more.
            if self._full_at[oldest] > now and len(self._full_at) <= self._most:
                return
            del self._full_at[oldest]
            if not self._full_at:
                return
