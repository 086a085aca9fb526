"""Breakers told from replica to replica: one contract for a hub in this process and a Valkey server."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest

from handrail.core.clock import FrozenClock
from handrail.serving.resilience import BreakerOpen, Breakers, BreakerState, SharedBreakers
from handrail.shared_state import Hub, LocalBus, Valkey, ValkeyBus
from tests.shared_state.test_bus import soon

KEY = "tool:get_order"
Replica = Callable[[], Awaitable[Breakers]]


@pytest.fixture(params=["in process", "valkey"])
async def replica(request: pytest.FixtureRequest, clock: FrozenClock) -> AsyncIterator[Replica]:
    hub, count = Hub(), iter(range(100))
    async with AsyncExitStack() as stack:

        async def made() -> Breakers:
            if request.param == "in process":
                bus: LocalBus | ValkeyBus = LocalBus(hub)
            else:
                valkey = Valkey(request.getfixturevalue("valkey_url"))
                await valkey.start()
                stack.push_async_callback(valkey.close)
                bus = ValkeyBus(valkey, f"r{next(count)}")
            mirror = SharedBreakers(bus)
            breakers = Breakers(clock, mirror=mirror)
            mirror.hear(breakers)
            if isinstance(bus, ValkeyBus):
                await bus.start()
                stack.push_async_callback(bus.close)
                await soon(lambda: bus.is_listening)
            return breakers

        yield made


def fail(breakers: Breakers) -> None:
    """Until it opens."""
    for _ in range(200):
        try:
            breakers.guard(KEY).failure(0.1)
        except BreakerOpen:
            return
    raise AssertionError("it did not open")


def state(breakers: Breakers) -> BreakerState | None:
    return next((each.state for each in breakers.states() if each.key == KEY), None)


async def test_what_fails_on_one_is_not_called_on_the_others(replica: Replica):
    first, second = await replica(), await replica()
    fail(first)
    await soon(lambda: state(second) is BreakerState.OPEN)
    with pytest.raises(BreakerOpen):
        second.guard(KEY)


async def test_a_replica_that_starts_later_hears_of_it(replica: Replica):
    first, witness = await replica(), await replica()
    fail(first)
    await soon(lambda: state(witness) is BreakerState.OPEN)
    late = await replica()
    await soon(lambda: state(late) is BreakerState.OPEN)


async def test_one_that_is_well_again_is_told_too(replica: Replica, clock: FrozenClock):
    first, second = await replica(), await replica()
    fail(first)
    await soon(lambda: state(second) is BreakerState.OPEN)
    clock.advance(120)
    while state(first) is not BreakerState.CLOSED:
        first.guard(KEY).success(0.1)
    await soon(lambda: state(second) is BreakerState.CLOSED)


async def test_news_that_another_version_tells_is_passed_over(clock: FrozenClock):
    hub = Hub()
    mirror = SharedBreakers(LocalBus(hub))
    breakers = Breakers(clock, mirror=mirror)
    mirror.hear(breakers)
    LocalBus(hub).publish("breaker", {"key": KEY, "became": "open", "since": "yesterday"})
    LocalBus(hub).publish("breaker", "open")
    assert state(breakers) is None
