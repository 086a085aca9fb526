"""One contract for rates: counted by one process alone, and by several on a Valkey server."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from handrail.core.clock import SystemClock
from handrail.core.principal import Principal
from handrail.protection.rate_limits import Rate, RateDecision, RateLimited, RateLimiter, SharedRateLimiter
from handrail.shared_state import Valkey
from tests.servers import ValkeyServer

Require = Callable[[Principal], Awaitable[RateDecision]]
ANA, BOB, OTHER = Principal("acme", "ana"), Principal("acme", "bob"), Principal("other", "ana")
# Nothing comes back while a test runs, however slow the machine is.
PER_MINUTE, BURST = 0.05, 5


def local() -> RateLimiter:
    return RateLimiter(SystemClock(), per_minute=PER_MINUTE, burst=BURST)


@pytest.fixture(params=["in process", "valkey"])
async def require(request: pytest.FixtureRequest) -> AsyncIterator[list[Require]]:
    """How three callers count: in one process, or each in its own."""
    if request.param == "in process":
        limiter = local()

        async def counted(principal: Principal) -> RateDecision:
            return limiter.require(principal)

        yield [counted] * 3
        return
    valkeys = [Valkey(request.getfixturevalue("valkey_url"), timeout_seconds=5.0) for _ in range(3)]
    for each in valkeys:
        await each.start()
    yield [SharedRateLimiter(each, local(), per_minute=PER_MINUTE, burst=BURST).require for each in valkeys]
    for each in valkeys:
        await each.close()


async def test_allows_the_burst_and_says_what_is_left(require: list[Require]):
    decisions = [await require[number % 3](ANA) for number in range(BURST)]
    assert [each.remaining for each in decisions] == [4, 3, 2, 1, 0]
    assert {each.limit for each in decisions} == {BURST}
    assert all(each.allowed and each.retry_after_seconds == 0 for each in decisions)
    assert decisions[0].reset_seconds == pytest.approx(1_200, rel=0.01)


async def test_refuses_the_next_and_says_when_one_may(require: list[Require]):
    for _ in range(BURST):
        await require[0](ANA)
    for each in require:
        with pytest.raises(RateLimited) as refused:
            await each(ANA)
        decision = refused.value.decision
        assert (decision.allowed, decision.remaining, decision.limit) == (False, 0, BURST)
        # A refusal costs nothing: the third is told no later a time than the first.
        assert 1_000 < decision.retry_after_seconds <= 1_200


async def test_counts_each_principal_of_each_tenant_apart(require: list[Require]):
    for _ in range(BURST):
        await require[0](ANA)
    for other in (BOB, OTHER, Principal("acmea", "na")):
        assert (await require[1](other)).remaining == BURST - 1


async def test_lets_exactly_the_burst_through_when_all_come_at_once(require: list[Require]):
    asked = [require[number % 3](ANA) for number in range(60)]
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert sum(isinstance(each, RateDecision) for each in outcomes) == BURST
    assert sum(isinstance(each, RateLimited) for each in outcomes) == 60 - BURST


@pytest.mark.valkey
async def test_without_the_server_each_process_counts_for_itself_and_says_so(valkey_server: ValkeyServer):
    degraded: list[int] = []
    valkey = Valkey(valkey_server.url)
    await valkey.start()
    limiter = SharedRateLimiter(
        valkey, local(), per_minute=PER_MINUTE, burst=BURST, on_degraded=lambda: degraded.append(1)
    )
    try:
        await limiter.require(BOB)
        assert degraded == []
        valkey_server.kill()
        for left in (4, 3, 2, 1, 0):
            assert (await limiter.require(BOB)).remaining == left
        with pytest.raises(RateLimited):
            await limiter.require(BOB)
        assert len(degraded) == BURST + 1
    finally:
        await valkey.close()
        valkey_server.start_if_gone()


@pytest.mark.valkey
async def test_comes_back_as_time_goes_by(valkey_url: str):
    valkey = Valkey(valkey_url, timeout_seconds=5.0)
    await valkey.start()
    limiter = SharedRateLimiter(valkey, local(), per_minute=600, burst=1)
    try:
        await limiter.require(ANA)
        with pytest.raises(RateLimited) as refused:
            await limiter.require(ANA)
        await asyncio.sleep(refused.value.decision.retry_after_seconds + 0.01)
        await limiter.require(ANA)
    finally:
        await valkey.close()


@pytest.fixture(params=["in process", "valkey"])
async def charged(request: pytest.FixtureRequest) -> AsyncIterator[list[Rate]]:
    """What is known only afterwards, counted by one process or by several."""
    tokens = RateLimiter(SystemClock(), per_minute=6, burst=100, what="tokens")
    if request.param == "in process":
        yield [Rate(tokens)] * 3
        return
    rates: list[Rate] = []
    valkeys = [Valkey(request.getfixturevalue("valkey_url"), timeout_seconds=5.0) for _ in range(3)]
    for each in valkeys:
        await each.start()
        rate = Rate(RateLimiter(SystemClock(), per_minute=6, burst=100, what="tokens"))
        rate.shared = SharedRateLimiter(each, rate.local, per_minute=6, burst=100, what="tokens")
        rates.append(rate)
    yield rates
    for each in valkeys:
        await each.close()


class TestWhatIsChargedAfterwards:
    async def test_may_go_over_the_burst_once_and_then_nothing_is_left_anywhere(self, charged: list[Rate]):
        assert (await charged[0].check(ANA)).remaining == 100
        charged[0].charge(ANA, 60)
        await charged[0].settled()
        assert (await charged[1].check(ANA)).remaining == 40
        charged[1].charge(ANA, 70)
        await charged[1].settled()
        with pytest.raises(RateLimited, match="too many tokens") as refused:
            await charged[2].check(ANA)
        # 30 over, and one more, at 10 seconds each.
        assert refused.value.retry_after_seconds == pytest.approx(310, abs=10)
        assert (await charged[2].check(BOB)).remaining == 100

    async def test_is_no_turn_and_a_turn_is_none_of_it(self, charged: list[Rate], require: list[Require]):
        charged[0].charge(ANA, 1000)
        await charged[0].settled()
        assert (await require[0](ANA)).remaining == BURST - 1
