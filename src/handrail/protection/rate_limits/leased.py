"""One rate over any number of processes that hardly ever waits: each takes permits ahead, and they go bad soon."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from handrail.core.clock import Clock
from handrail.core.principal import Principal
from handrail.protection.rate_limits.limiter import MOST_PRINCIPALS, RateLimited, RateLimiter
from handrail.protection.rate_limits.policy import LeaseTerms, RateDecision
from handrail.protection.rate_limits.shared import MICROS, key_of
from handrail.shared_state import Unreachable, Valkey

# As many permits as there are, up to those wanted. What went ahead of the question (ARGV[4]) is counted whatever is
# left, so that it is missing afterwards.
_SCRIPT = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local interval, ahead = tonumber(ARGV[1]), tonumber(ARGV[4])
local most = interval * tonumber(ARGV[2])
local full_at = math.max(tonumber(redis.call('GET', KEYS[1]) or now), now) + interval * ahead
local free = math.max(math.floor((most - (full_at - now)) / interval), 0)
local given = math.min(free, tonumber(ARGV[3]))
full_at = full_at + given * interval
if given + ahead > 0 then
  redis.call('SET', KEYS[1], string.format('%.0f', full_at), 'PX', math.ceil((full_at - now) / 1000) + 1)
end
return {given, full_at - now, math.max(full_at + interval - now - most, 0)}
"""


@dataclass(slots=True)
class _Permits:
    left: int
    until: float


@dataclass(slots=True)
class _Address:
    """What this process knows of one address.

    Attributes:
        held: permits in hand, the older first.
        size: how many were asked for last, and until when they are good.
        refused: the server has none until `refused_until`; `reset_at` is when all are back.
        asking: the one question that is under way.
    """

    held: list[_Permits] = field(default_factory=list[_Permits])
    size: int = 1
    good_until: float = float("-inf")
    refused_until: float = float("-inf")
    reset_at: float = float("-inf")
    asking: "asyncio.Task[None] | None" = None


class LeasedRate:
    """Never more than the burst at once and the rate in the long run, over all processes together.

    A process begins with one permit and doubles while it uses them up, so that a quiet address costs no more than it
    asks for. Open: without the shared server each process counts for itself, with `local`, and says so.
    """

    def __init__(
        self,
        valkey: Valkey,
        local: RateLimiter,
        clock: Clock,
        terms: LeaseTerms,
        *,
        on_degraded: Callable[[], None] | None = None,
        what: str = "requests from one address",
        most_addresses: int = MOST_PRINCIPALS,
    ) -> None:
        self._valkey = valkey
        self._local = local
        self._clock = clock
        self._terms = terms
        self._interval = round(60 * MICROS / terms.per_minute)
        self._on_degraded = on_degraded
        self._what = what
        self._most = most_addresses
        self._addresses: OrderedDict[str, _Address] = OrderedDict()
        self._asking: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        """Addresses remembered now."""
        return len(self._addresses)

    def counted(self, source: str) -> bool:
        """Count one by what this process holds; False when the server has to be waited for, by `require`.

        Raises:
            RateLimited: the server said a moment ago that it may not begin yet.
        """
        if not self._valkey.is_up:
            self._count_alone(source)
            return True
        address, now = self._address(source), self._clock.monotonic()
        if self._takes(address, now):
            if address.asking is None and _is_running_out(address):
                self._ask(source, address, now, ahead=0)
            return True
        self._raise_if_refused(address, now)
        if address.asking is not None:
            return False
        # One of each process at a time goes ahead of its question; the shared burst is shorter by as many.
        self._ask(source, address, now, ahead=1)
        return True

    async def require(self, principal: Principal) -> None:
        """Count one, and wait for the server if need be.

        Raises:
            RateLimited: it may not begin yet.
        """
        source = principal.subject
        while self._valkey.is_up:
            address, now = self._address(source), self._clock.monotonic()
            if self._takes(address, now):
                return
            self._raise_if_refused(address, now)
            # One caller that goes away must not stop it for the others.
            await asyncio.shield(address.asking or self._ask(source, address, now, ahead=0))
        self._count_alone(source)

    async def close(self) -> None:
        """Stop the questions that are under way."""
        for task in self._asking:
            task.cancel()
        if self._asking:
            await asyncio.wait(self._asking)

    def _address(self, source: str) -> _Address:
        address = self._addresses.get(source)
        if address is not None:
            self._addresses.move_to_end(source)
            return address
        if len(self._addresses) >= self._most:
            # The one who was quiet longest; the server still knows what it has used.
            self._addresses.popitem(last=False)
        address = self._addresses[source] = _Address()
        return address

    def _takes(self, address: _Address, now: float) -> bool:
        held = address.held
        while held and (held[0].left <= 0 or held[0].until <= now):
            del held[0]
        if not held:
            return False
        held[0].left -= 1
        return True

    def _raise_if_refused(self, address: _Address, now: float) -> None:
        if now < address.refused_until:
            wait = address.refused_until - now
            decision = RateDecision(False, self._terms.limit, 0, address.reset_at - now, wait)
            raise RateLimited(decision, self._terms.per_minute, self._what)

    def _ask(self, source: str, address: _Address, now: float, *, ahead: int) -> "asyncio.Task[None]":
        # Asked again before the last ones would have gone bad: it can use more.
        address.size = min(2 * address.size, self._terms.most) if now < address.good_until else 1
        address.asking = task = asyncio.get_running_loop().create_task(self._asked(source, address, now, ahead))
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)
        return task

    async def _asked(self, source: str, address: _Address, now: float, ahead: int) -> None:
        terms, key, wanted = self._terms, key_of("", source, self._what), address.size - ahead
        try:
            given, reset, wait = await self._valkey.ask(
                lambda client: client.eval(_SCRIPT, 1, key, self._interval, terms.burst, wanted, ahead)
            )
        except Unreachable:
            self._degraded()
            return
        finally:
            address.asking = None
        # From before the question: they are bad here no later than the server, which gave them afterwards, thinks.
        address.good_until = now + terms.seconds
        if given:
            address.held.append(_Permits(given, address.good_until))
        if wait:
            heard = self._clock.monotonic()
            address.refused_until, address.reset_at = heard + wait / MICROS, heard + reset / MICROS

    def _count_alone(self, source: str) -> None:
        self._degraded()
        self._local.require(Principal("", source))

    def _degraded(self) -> None:
        if self._on_degraded is not None:
            self._on_degraded()


def _is_running_out(address: _Address) -> bool:
    """Whether the next permits should be asked for, so that nobody has to wait for them."""
    return len(address.held) == 1 and 4 * address.held[0].left <= address.size > 1
