"""One rate, counted in this process or, with a shared server, once for all of them."""

import asyncio

from handrail.core.principal import Principal
from handrail.protection.rate_limits.limiter import RateLimiter
from handrail.protection.rate_limits.policy import RateDecision
from handrail.protection.rate_limits.shared import SharedRateLimiter


class Rate:
    """What is counted one by one is required; what is known only afterwards is checked before and charged after."""

    def __init__(self, local: RateLimiter) -> None:
        self.local = local
        self.shared: SharedRateLimiter | None = None
        self._charging: set[asyncio.Task[None]] = set()

    async def require(self, principal: Principal) -> RateDecision:
        """Count one; raises `RateLimited` when it is too soon for it."""
        return self.local.require(principal) if self.shared is None else await self.shared.require(principal)

    async def check(self, principal: Principal) -> RateDecision:
        """Count nothing; raises `RateLimited` while what was charged is more than the burst."""
        return self.local.check(principal) if self.shared is None else await self.shared.check(principal)

    def charge(self, principal: Principal, amount: int) -> None:
        """Count what was used; nobody waits for the shared server to hear of it."""
        self.local.charge(principal, amount)
        if self.shared is not None:
            task = asyncio.get_running_loop().create_task(self.shared.charge(principal, amount))
            self._charging.add(task)
            task.add_done_callback(self._charging.discard)

    async def settled(self) -> None:
        """Wait until the shared server heard of all that was charged."""
        if self._charging:
            await asyncio.wait(self._charging)
