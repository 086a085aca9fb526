"""Permits taken ahead: a look-up for most requests, and never more than the limit over all processes."""

import asyncio
import json
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handrail.core.clock import SystemClock
from handrail.core.principal import Principal
from handrail.protection.rate_limits import AddressRate, LeasedRate, RateLimited, RateLimiter, lease_terms
from handrail.shared_state import Valkey
from tests.servers import ValkeyServer

ADDRESS = "203.0.113.9"
PER_MINUTE, BURST = 0.6, 1024


def leased(valkey: Valkey, **options: int) -> AddressRate:
    clock = SystemClock()
    rate = AddressRate(RateLimiter(clock, per_minute=PER_MINUTE, burst=BURST))
    terms = lease_terms(PER_MINUTE, BURST)
    assert terms is not None
    rate.shared = LeasedRate(valkey, rate.local, clock, terms, **options)
    return rate


async def count(rate: AddressRate, source: str = ADDRESS) -> bool:
    """Whether one more was let in."""
    try:
        if not rate.counted(source):
            await rate.require(source)
    except RateLimited:
        return False
    return True


class TestTerms:
    @given(st.floats(0.01, 1e6), st.integers(1, 1_000_000))
    def test_leave_room_for_all_that_lies_with_processes(self, per_minute: float, burst: int):
        terms = lease_terms(per_minute, burst)
        if terms is None:
            assert burst < 512
            return
        assert terms.burst + terms.seconds * per_minute / 60 + 128 <= burst + 1e-6
        assert terms.burst >= burst / 2 - 1
        assert 1 <= terms.most <= terms.burst / 8 or terms.most == 1


class TestAlone:
    def test_counts_each_address_apart(self):
        rate = AddressRate(RateLimiter(SystemClock(), per_minute=0.05, burst=2))
        assert [rate.counted("a"), rate.counted("a"), rate.counted("b")] == [True] * 3
        with pytest.raises(RateLimited, match="too many"):
            rate.counted("a")
        assert rate.counted("b")


@pytest.mark.valkey
class TestWithOthers:
    async def test_lets_most_in_by_a_look_up_and_never_more_than_the_burst(self, valkey_url: str):
        valkey = Valkey(valkey_url, timeout_seconds=5.0)
        await valkey.start()
        rate = leased(valkey)
        try:
            before = await asked(valkey)
            outcomes = [await count(rate) for _ in range(BURST + 500)]
            allowed = sum(outcomes)
            assert BURST - 128 - 1 <= allowed <= BURST
            # Doubling from 1 to 64, then one question for 64 requests.
            assert await asked(valkey) - before < 40
            with pytest.raises(RateLimited) as refused:
                rate.counted(ADDRESS)
            assert refused.value.decision.limit == BURST
            assert 0 < refused.value.decision.retry_after_seconds <= 200
        finally:
            await rate.close()
            await valkey.close()

    async def test_never_waits_for_the_first_of_an_address(self, valkey_url: str):
        valkey = Valkey(valkey_url, timeout_seconds=5.0)
        await valkey.start()
        rate = leased(valkey)
        try:
            assert [rate.counted(f"198.51.100.{number}") for number in range(50)] == [True] * 50
        finally:
            await rate.close()
            await valkey.close()

    async def test_lets_a_crowd_that_comes_at_once_in_up_to_the_burst(self, valkey_url: str):
        valkeys = [Valkey(valkey_url, timeout_seconds=5.0) for _ in range(3)]
        for each in valkeys:
            await each.start()
        rates = [leased(each) for each in valkeys]
        try:
            outcomes = await asyncio.gather(*(count(rates[number % 3]) for number in range(3 * BURST)))
            assert BURST / 2 <= sum(outcomes) <= BURST
        finally:
            for rate, each in zip(rates, valkeys, strict=True):
                await rate.close()
                await each.close()

    async def test_remembers_so_many_addresses_and_no_more(self, valkey_url: str):
        valkey = Valkey(valkey_url, timeout_seconds=5.0)
        await valkey.start()
        rate = leased(valkey, most_addresses=10)
        try:
            for number in range(40):
                await count(rate, f"198.51.100.{number}")
            assert isinstance(rate.shared, LeasedRate)
            assert len(rate.shared) == 10
        finally:
            await rate.close()
            await valkey.close()

    async def test_a_small_burst_is_asked_for_one_by_one(self, valkey_url: str):
        from handrail.protection.rate_limits import SharedRateLimiter

        assert lease_terms(6000, 100) is None
        valkey = Valkey(valkey_url, timeout_seconds=5.0)
        await valkey.start()
        rate = AddressRate(RateLimiter(SystemClock(), per_minute=0.05, burst=3))
        rate.shared = SharedRateLimiter(valkey, rate.local, per_minute=0.05, burst=3, what="requests from one address")
        try:
            assert [await count(rate) for _ in range(5)] == [True] * 3 + [False] * 2
        finally:
            await valkey.close()

    async def test_without_the_server_each_process_counts_for_itself_and_says_so(self, valkey_server: ValkeyServer):
        degraded: list[int] = []
        valkey, clock = Valkey(valkey_server.url), SystemClock()
        await valkey.start()
        rate = AddressRate(RateLimiter(clock, per_minute=PER_MINUTE, burst=5))
        terms = lease_terms(PER_MINUTE, BURST)
        assert terms is not None
        rate.shared = LeasedRate(valkey, rate.local, clock, terms, on_degraded=lambda: degraded.append(1))
        try:
            assert await count(rate)
            await asyncio.sleep(0.05)
            valkey_server.kill()
            other = "198.51.100.7"
            for _ in range(5):
                await rate.shared.require(Principal("", other))
            with pytest.raises(RateLimited):
                await rate.shared.require(Principal("", other))
            assert len(degraded) >= 6
        finally:
            await rate.close()
            await valkey.close()
            valkey_server.start_if_gone()

    async def test_four_processes_never_let_more_in_than_one_may(self, valkey_url: str):
        """Each asks as fast as it can for a second; the rate brings back ten in all of it."""
        began = time.monotonic()
        processes = [
            await asyncio.create_subprocess_exec(
                sys.executable, "-c", HAMMER, valkey_url, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
            )
            for _ in range(4)
        ]
        for process in processes:
            assert process.stdout is not None
            assert await process.stdout.readline() == b"ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write(b"go\n")
        counts: list[int] = [json.loads((await process.communicate())[0]) for process in processes]
        assert BURST / 2 <= sum(counts) <= BURST + 10 * (time.monotonic() - began)
        assert all(each > 0 for each in counts)


HAMMER = f"""
import asyncio, sys, time
from handrail.core.clock import SystemClock
from handrail.protection.rate_limits import AddressRate, LeasedRate, RateLimited, RateLimiter, lease_terms
from handrail.shared_state import Valkey

async def main():
    valkey, clock, allowed = Valkey(sys.argv[1], timeout_seconds=5.0), SystemClock(), 0
    await valkey.start()
    rate = AddressRate(RateLimiter(clock, per_minute=600, burst=1))
    rate.shared = LeasedRate(valkey, rate.local, clock, lease_terms(600, {BURST}))
    print("ready", flush=True)
    sys.stdin.readline()
    end = time.monotonic() + 1.0
    while time.monotonic() < end:
        try:
            if not rate.counted("{ADDRESS}"):
                await rate.require("{ADDRESS}")
            allowed += 1
        except RateLimited:
            await asyncio.sleep(0.001)
    await rate.close()
    await valkey.close()
    print(allowed)

asyncio.run(main())
"""


async def asked(valkey: Valkey) -> int:
    """How often scripts ran on the server."""
    found = await valkey.client.info("commandstats")
    return int(found.get("cmdstat_eval", {"calls": 0})["calls"])
