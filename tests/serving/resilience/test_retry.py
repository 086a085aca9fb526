import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handrail.core.clock import FrozenClock
from handrail.core.deadline import Deadline
from handrail.core.errors import HandrailError
from handrail.core.models import ModelMalformed, ModelRateLimited, ModelRefused, ModelUnavailable
from handrail.serving.resilience import BreakerOpen, Retries, Retry, RetryPolicy

DOWN = ModelUnavailable("down")


class Story:
    """Retries on a clock that only their waits move."""

    def __init__(self, policy: RetryPolicy = RetryPolicy()) -> None:
        self.clock = FrozenClock()
        self.waits: list[float] = []
        self.told: list[Retry] = []
        self.retries = Retries(random.Random(3), policy, sleep=self.sleep, on_retry=self.told.append)

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.clock.advance(seconds)

    def deadline(self, seconds: float = 60.0) -> Deadline:
        return Deadline.after(seconds, self.clock.monotonic)

    async def run(self, *ends: HandrailError | str, key: str = "tool:x", seconds: float = 60.0) -> str:
        return await self.retries.run(key, answers(*ends), self.deadline(seconds))


def answers(*ends: HandrailError | str) -> Callable[[int], Awaitable[str]]:
    """A call whose attempts end like this, one after another."""

    async def call(attempt: int) -> str:
        end = ends[attempt - 1]
        if isinstance(end, HandrailError):
            raise end
        return end

    return call


class TestWait:
    async def test_waits_and_says_that_it_is_worth_another_try(self):
        story = Story()
        assert await story.retries.wait("model:x", 1, DOWN, story.deadline())
        assert story.told == [Retry("model:x", 1, story.waits[0], DOWN)]

    async def test_does_not_wait_longer_than_the_caller_would(self):
        story = Story()
        told_to_wait = ModelRateLimited("429", retry_after_seconds=2)
        assert not await story.retries.wait("model:x", 1, told_to_wait, story.deadline(), most_seconds=1.0)
        assert await story.retries.wait("model:x", 1, told_to_wait, story.deadline(), most_seconds=3.0)
        assert 2 <= story.waits[0] <= 3

    async def test_what_is_not_tried_again_costs_no_token(self):
        story = Story(RetryPolicy(budget_burst=1))
        told_to_wait = ModelRateLimited("429", retry_after_seconds=2)
        assert not await story.retries.wait("model:x", 1, told_to_wait, story.deadline(), most_seconds=1.0)
        assert await story.retries.wait("model:x", 1, DOWN, story.deadline())


class TestRun:
    async def test_a_call_that_succeeds_is_made_once(self):
        story = Story()
        assert await story.run("fine") == "fine"
        assert story.waits == []

    async def test_tries_again_after_a_passing_failure_and_tells(self):
        story = Story()
        assert await story.run(DOWN, "fine") == "fine"
        assert story.told == [Retry("tool:x", 1, story.waits[0], DOWN)]
        assert 0 <= story.waits[0] <= 0.2

    async def test_the_last_error_goes_up_when_all_attempts_failed(self):
        story = Story(RetryPolicy(attempts=3))
        last = ModelUnavailable("still down")
        with pytest.raises(ModelUnavailable) as raised:
            await story.run(DOWN, DOWN, last, "never reached")
        assert raised.value is last
        assert len(story.waits) == 2

    @pytest.mark.parametrize(
        "error",
        [
            ModelRefused("400"),
            ModelMalformed("broke off", after_text=True),
            BreakerOpen("tool:x", "down", retry_after_seconds=0.1),
        ],
    )
    async def test_what_is_no_use_retrying_goes_up_at_once(self, error: HandrailError):
        story = Story()
        with pytest.raises(type(error)):
            await story.run(error, "never reached")
        assert story.waits == []

    async def test_waits_as_long_as_the_provider_said(self):
        story = Story()
        assert await story.run(ModelRateLimited("429", retry_after_seconds=7), "fine") == "fine"
        assert 7 <= story.waits[0] <= 7.2

    async def test_never_waits_past_the_deadline(self):
        story = Story()
        with pytest.raises(ModelRateLimited):
            await story.run(ModelRateLimited("429", retry_after_seconds=7), "never reached", seconds=7)
        assert story.waits == []

    async def test_a_call_that_used_up_the_time_is_not_made_again(self):
        story = Story()
        deadline = story.deadline(5)

        async def call(attempt: int) -> str:
            story.clock.advance(5)
            raise DOWN

        with pytest.raises(ModelUnavailable):
            await story.retries.run("tool:x", call, deadline)
        assert story.waits == []

    async def test_a_replayable_call_is_made_again_after_text(self):
        story = Story()
        cut = ModelMalformed("broke off", after_text=True)
        assert await story.retries.run("x", answers(cut, "fine"), story.deadline(), replayable=True) == "fine"

    async def test_the_policy_of_a_call_may_differ(self):
        story = Story()
        with pytest.raises(ModelUnavailable):
            await story.retries.run("x", answers(DOWN, "never"), story.deadline(), policy=RetryPolicy(attempts=1))

    async def test_a_cancelled_turn_does_not_retry(self):
        story = Story()

        async def call(attempt: int) -> str:
            raise asyncio.CancelledError

        with pytest.raises(asyncio.CancelledError):
            await story.retries.run("x", call, story.deadline())
        assert story.waits == []


class TestBudget:
    async def test_in_an_outage_retries_are_a_tenth_of_the_calls_and_the_burst(self):
        story = Story(RetryPolicy(attempts=3, budget_ratio=0.1, budget_burst=3))
        for _ in range(1000):
            with pytest.raises(ModelUnavailable):
                await story.run(DOWN, DOWN, DOWN)
        # Nothing is added to a full bucket, so the tenth of the very first call is lost.
        assert 102 <= len(story.waits) <= 103

    async def test_a_few_failures_among_many_calls_are_all_retried(self):
        story = Story()
        for number in range(400):
            ends = (DOWN, "fine") if number % 20 == 0 else ("fine",)
            assert await story.run(*ends) == "fine"
        assert len(story.waits) == 20

    async def test_the_outage_of_one_key_takes_nothing_from_another(self):
        story = Story()
        for _ in range(20):
            with pytest.raises(ModelUnavailable):
                await story.run(DOWN, DOWN, DOWN, key="tool:down")
        assert await story.run(DOWN, DOWN, "fine", key="tool:other") == "fine"

    def test_ten_tenths_are_a_whole_retry(self):
        story = Story(RetryPolicy(budget_burst=1, budget_ratio=0.1))
        assert story.retries.next_delay("x", 1, DOWN, story.deadline()) is not None
        for _ in range(9):
            story.retries.began("x")
        assert story.retries.next_delay("x", 1, DOWN, story.deadline()) is None
        story.retries.began("x")
        assert story.retries.next_delay("x", 1, DOWN, story.deadline()) is not None

    def test_an_attempt_that_is_not_worth_it_costs_no_token(self):
        story = Story(RetryPolicy(budget_burst=1, budget_ratio=0))
        for _ in range(5):
            assert story.retries.next_delay("x", 1, ModelRefused("400"), story.deadline()) is None
        assert story.retries.next_delay("x", 1, DOWN, story.deadline()) is not None
        assert story.retries.next_delay("x", 1, DOWN, story.deadline()) is None

    @given(
        ratio=st.sampled_from([0.0, 0.03, 0.1, 1 / 3, 1.0]),
        burst=st.integers(1, 5),
        events=st.lists(st.booleans(), max_size=300),
    )
    def test_never_more_than_the_burst_and_its_share_of_the_calls(self, ratio: float, burst: int, events: list[bool]):
        """Over every stretch of any order of calls and failures, not only from the beginning."""
        story = Story(RetryPolicy(budget_ratio=ratio, budget_burst=burst))
        deadline = story.deadline()
        # What the bucket could hold at most if each stretch began with a full one.
        most = float(burst)
        for is_call in events:
            if is_call:
                story.retries.began("x")
                most = min(burst, most + ratio)
            elif story.retries.next_delay("x", 1, DOWN, deadline) is not None:
                most -= 1
                assert most >= -1e-6

    def test_remembers_so_many_keys_only(self):
        story = Story()
        retries = Retries(random.Random(1), RetryPolicy(budget_burst=1, budget_ratio=0), most_keys=2)
        assert retries.next_delay("a", 1, DOWN, story.deadline()) is not None
        assert retries.next_delay("a", 1, DOWN, story.deadline()) is None
        retries.began("b")
        retries.began("c")
        assert retries.next_delay("a", 1, DOWN, story.deadline()) is not None
