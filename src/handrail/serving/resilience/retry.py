"""Retries that can't make an outage worse: backoff with jitter, within the deadline and under a budget."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from handrail.core.deadline import Deadline
from handrail.core.errors import HandrailError
from handrail.serving.resilience.policy import RetryPolicy, next_delay

MOST_KEYS = 10_000
# A call deposits a share of a token; sums of tenths must not fall short of 1 by a rounding.
ROUNDING = 1e-9
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Retry:
    """One retry that is about to be made: after attempt number `attempt` failed with `error`."""

    key: str
    attempt: int
    delay_seconds: float
    error: HandrailError


class RetryBudget:
    """Tokens for the retries of one key: each call adds `ratio` of one, each retry takes one.

    So in any stretch of time there are at most `burst` + `ratio` x calls retries, whatever fails.
    """

    __slots__ = ("_burst", "_ratio", "tokens")

    def __init__(self, ratio: float, burst: int) -> None:
        self._ratio = ratio
        self._burst = float(burst)
        self.tokens = self._burst

    def deposit(self) -> None:
        self.tokens = min(self._burst, self.tokens + self._ratio)

    def withdraw(self) -> bool:
        if self.tokens < 1.0 - ROUNDING:
            return False
        self.tokens = max(0.0, self.tokens - 1.0)
        return True


class Retries:
    """Budgets by key and the loop that keeps to them. For one event loop; nothing here can fail.

    Use it at one layer only: retries of retries multiply.
    """

    def __init__(
        self,
        rng: random.Random,
        policy: RetryPolicy = RetryPolicy(),
        *,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        on_retry: Callable[[Retry], None] | None = None,
        most_keys: int = MOST_KEYS,
    ) -> None:
        self._rng = rng
        self.policy = policy
        self._sleep = sleep
        self._on_retry = on_retry
        self._most_keys = most_keys
        self._budgets: dict[str, RetryBudget] = {}

    def began(self, key: str) -> None:
        """Count one call of `key`, not its retries: this is what they are a share of."""
        self._budget(key).deposit()

    def next_delay(
        self,
        key: str,
        attempt: int,
        error: BaseException,
        deadline: Deadline,
        *,
        policy: RetryPolicy | None = None,
        replayable: bool = False,
        most_seconds: float | None = None,
    ) -> float | None:
        """Seconds to wait before the next attempt, its token taken; `None` to go to the next rung.

        `attempt` is the number of the one that failed, from 1. `policy` may differ from the usual one in all but
        the budget, which belongs to the key.
        """
        policy = policy or self.policy
        delay = next_delay(
            policy,
            attempt,
            error,
            deadline.remaining(),
            self._rng,
            replayable=replayable,
            most_seconds=most_seconds,
        )
        return delay if delay is not None and self._budget(key).withdraw() else None

    async def wait(
        self,
        key: str,
        attempt: int,
        error: HandrailError,
        deadline: Deadline,
        *,
        policy: RetryPolicy | None = None,
        replayable: bool = False,
        most_seconds: float | None = None,
    ) -> bool:
        """Wait until the next attempt is due and its token taken; False to go to the next rung, at once."""
        delay = self.next_delay(
            key, attempt, error, deadline, policy=policy, replayable=replayable, most_seconds=most_seconds
        )
        if delay is None:
            return False
        if self._on_retry is not None:
            self._on_retry(Retry(key, attempt, delay, error))
        await self._sleep(delay)
        return True

    async def run(
        self,
        key: str,
        call: Callable[[int], Awaitable[T]],
        deadline: Deadline,
        *,
        policy: RetryPolicy | None = None,
        replayable: bool = False,
        most_seconds: float | None = None,
    ) -> T:
        """Await `call(attempt)` until it succeeds or the next attempt is not worth it; then its error goes up.

        Only for calls that may be made twice: reads, and writes that are idempotent.
        """
        self.began(key)
        attempt = 1
        while True:
            try:
                return await call(attempt)
            except HandrailError as error:
                failed = error
            again = await self.wait(
                key, attempt, failed, deadline, policy=policy, replayable=replayable, most_seconds=most_seconds
            )
            if not again:
                raise failed
            attempt += 1

    def _budget(self, key: str) -> RetryBudget:
        budget = self._budgets.get(key)
        if budget is None:
            if len(self._budgets) >= self._most_keys:
                del self._budgets[next(iter(self._budgets))]
            budget = self._budgets[key] = RetryBudget(self.policy.budget_ratio, self.policy.budget_burst)
        return budget
