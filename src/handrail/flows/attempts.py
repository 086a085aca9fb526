"""Keys and tokens that do not work: counted by where they come from, and put on record when there are too many."""

from collections.abc import Callable

from handrail.core.clock import Clock
from handrail.core.principal import Principal
from handrail.flows.audit import NOBODY
from handrail.protection.audit import AuditEntry, AuditTrail
from handrail.protection.rate_limits import Rate, RateLimited, RateLimiter


class FailedAttempts:
    """Counted once they have failed, so that nobody is refused for what others of the same address still wait for.

    Args:
        on_refused: told of every attempt that is not looked at; the audit log hears of one a minute and address.
    """

    def __init__(self, rate: Rate, audit: AuditTrail, clock: Clock, on_refused: Callable[[], None]) -> None:
        self._rate = rate
        self._audit = audit
        self._on_refused = on_refused
        self._records = RateLimiter(clock, per_minute=1, burst=1)

    async def require(self, source: str) -> None:
        """Raises `RateLimited` when too many from there did not work."""
        try:
            await self._rate.check(Principal("", source))
        except RateLimited:
            self._on_refused()
            self._put_on_record(source)
            raise

    def failed(self, source: str) -> None:
        """One more from there did not work."""
        self._rate.charge(Principal("", source), 1)

    def _put_on_record(self, source: str) -> None:
        try:
            self._records.require(Principal("", source))
        except RateLimited:
            return
        details = (("code", RateLimited.code),)
        self._audit.note(
            AuditEntry(NOBODY, "access.denied", "denied", "credentials:address", subject=source, details=details)
        )
