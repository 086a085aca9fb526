"""The rate of requests from one address: a look-up in the process's memory, with a shared server behind it."""

from collections.abc import Callable

from handrail.core.principal import Principal
from handrail.protection.rate_limits.leased import LeasedRate
from handrail.protection.rate_limits.limiter import RateLimited, RateLimiter
from handrail.protection.rate_limits.shared import SharedRateLimiter


class AddressRate:
    """Counts the requests of each address, and answers at once whenever this process may decide alone.

    Args:
        on_refused: told of each refusal.
    """

    def __init__(self, local: RateLimiter, *, on_refused: Callable[[], None] | None = None) -> None:
        self.local = local
        self.shared: LeasedRate | SharedRateLimiter | None = None
        self._on_refused = on_refused

    def counted(self, source: str) -> bool:
        """Count one; False when the shared server has to be asked first, by `require`.

        Raises:
            RateLimited: it may not begin yet.
        """
        try:
            if self.shared is None:
                self.local.require(Principal("", source))
                return True
            return isinstance(self.shared, LeasedRate) and self.shared.counted(source)
        except RateLimited:
            self._refused()
            raise

    async def require(self, source: str) -> None:
        """Count one that `counted` did not.

        Raises:
            RateLimited: it may not begin yet.
        """
        assert self.shared is not None, "this process alone has counted it"
        try:
            await self.shared.require(Principal("", source))
        except RateLimited:
            self._refused()
            raise

    async def close(self) -> None:
        """Stop what is under way."""
        if isinstance(self.shared, LeasedRate):
            await self.shared.close()

    def _refused(self) -> None:
        if self._on_refused is not None:
            self._on_refused()
