import asyncio
import time

import pytest

from handrail.core.deadline import Deadline
from handrail.serving.resilience import Bulkhead, Overloaded

KEY = "tool:get_order"


def made(limit: int = 1, **more: float) -> Bulkhead:
    return Bulkhead(lambda key: limit, **more)  # pyright: ignore[reportArgumentType]


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


class TestAcquire:
    async def test_lets_so_many_calls_of_a_key_run_and_the_next_when_one_ends(self):
        bulkhead = made(2)
        first, _ = await bulkhead.acquire(KEY), await bulkhead.acquire(KEY)
        waiting = asyncio.create_task(bulkhead.acquire(KEY))
        await settle()
        assert not waiting.done()
        first.release()
        with await waiting:
            assert bulkhead.running(KEY) == 2

    async def test_keys_have_places_of_their_own(self):
        bulkhead = Bulkhead(lambda key: {"tool:slow": 1, "tool:fast": 3}[key], wait_seconds=0)
        await bulkhead.acquire("tool:slow")
        for _ in range(3):
            await bulkhead.acquire("tool:fast")
        with pytest.raises(Overloaded):
            await bulkhead.acquire("tool:fast")

    async def test_a_key_may_have_a_limit_of_its_own_from_when_it_is_idle(self):
        bulkhead = made(3, wait_seconds=0)
        with await bulkhead.acquire(KEY, most=1), pytest.raises(Overloaded):
            await bulkhead.acquire(KEY, most=2)
        for _ in range(2):
            await bulkhead.acquire(KEY, most=2)
        with pytest.raises(Overloaded):
            await bulkhead.acquire(KEY, most=2)

    async def test_refuses_who_waited_too_long_and_says_when_to_come_back(self):
        bulkhead = made(wait_seconds=0.02)
        with await bulkhead.acquire(KEY):
            began = time.monotonic()
            with pytest.raises(
                Overloaded, match=r"'tool:get_order'.*1 calls of it run and none ended in 0\.02 s"
            ) as no:
                await bulkhead.acquire(KEY)
            assert 0.015 <= time.monotonic() - began < 1
        assert (no.value.code, no.value.retryable, no.value.retry_after_seconds) == ("overloaded", True, 1.0)

    async def test_waits_no_longer_than_the_deadline_leaves(self):
        bulkhead = made(wait_seconds=60)
        with await bulkhead.acquire(KEY):
            with pytest.raises(Overloaded):
                await bulkhead.acquire(KEY, Deadline.after(0.02))
            with pytest.raises(Overloaded):
                await bulkhead.acquire(KEY, Deadline.after(0))

    async def test_refuses_at_once_when_too_many_wait(self):
        bulkhead = made(most_waiting=2, wait_seconds=60)
        slot = await bulkhead.acquire(KEY)
        waiting = [asyncio.create_task(bulkhead.acquire(KEY)) for _ in range(2)]
        await settle()
        with pytest.raises(Overloaded, match="2 more wait"):
            await bulkhead.acquire(KEY)
        slot.release()
        for task in waiting:
            (await task).release()

    async def test_serves_in_the_order_of_coming(self):
        bulkhead = made(wait_seconds=60)
        slot = await bulkhead.acquire(KEY)
        served: list[int] = []

        async def call(number: int) -> None:
            with await bulkhead.acquire(KEY):
                served.append(number)

        calls = [asyncio.create_task(call(number)) for number in range(5)]
        await settle()
        slot.release()
        await asyncio.gather(*calls)
        assert served == [0, 1, 2, 3, 4]

    async def test_a_limit_of_none_at_all_is_a_mistake(self):
        with pytest.raises(ValueError, match="the least is 1"):
            await made(0).acquire(KEY)


class TestRelease:
    async def test_a_place_is_given_back_once(self):
        bulkhead = made(2)
        first, _ = await bulkhead.acquire(KEY), await bulkhead.acquire(KEY)
        first.release()
        first.release()
        assert bulkhead.running(KEY) == 1

    async def test_a_failing_call_gives_its_place_back(self):
        bulkhead = made()
        with pytest.raises(ZeroDivisionError), await bulkhead.acquire(KEY):
            _ = 1 / 0
        assert len(bulkhead) == 0

    async def test_a_timed_out_thread_keeps_its_place_until_it_ends(self):
        bulkhead = made(wait_seconds=0)
        thread: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        with await bulkhead.acquire(KEY) as slot:
            slot.release_after(thread)
        with pytest.raises(Overloaded):
            await bulkhead.acquire(KEY)
        thread.set_result(None)
        await settle()
        (await bulkhead.acquire(KEY)).release()

    async def test_keeps_nothing_of_keys_that_are_idle(self):
        bulkhead = made(wait_seconds=0)
        for number in range(100):
            with await bulkhead.acquire(f"tool:{number}"), pytest.raises(Overloaded):
                await bulkhead.acquire(f"tool:{number}")
        assert len(bulkhead) == 0
