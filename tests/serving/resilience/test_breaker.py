import asyncio
from collections.abc import Callable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, precondition, rule

from handrail.core.clock import FrozenClock
from handrail.core.models import ModelMalformed, ModelRefused
from handrail.serving.resilience import (
    BreakerChange,
    BreakerOpen,
    BreakerPolicy,
    Breakers,
    BreakerState,
    Permit,
    model_key,
    tool_key,
)

KEY = "tool:get_order"
POLICY = BreakerPolicy(
    window_calls=8,
    minimum_calls=4,
    failure_rate=0.5,
    slow_seconds=2.0,
    slow_rate=0.75,
    open_seconds=60.0,
    probes=4,
    concurrent_probes=2,
)


class Kept:
    """A mirror, or a listener, that remembers."""

    def __init__(self) -> None:
        self.changes: list[BreakerChange] = []

    def publish(self, change: BreakerChange) -> None:
        self.changes.append(change)

    def became(self) -> list[str]:
        return [change.became for change in self.changes]


def made(clock: FrozenClock, **more: object) -> Breakers:
    return Breakers(clock, lambda key: POLICY, **more)  # pyright: ignore[reportArgumentType]


def fail(breakers: Breakers, times: int, key: str = KEY) -> None:
    for _ in range(times):
        breakers.guard(key).failure(0.1)


def succeed(breakers: Breakers, times: int, key: str = KEY, seconds: float = 0.1) -> None:
    for _ in range(times):
        breakers.guard(key).success(seconds)


def state_of(breakers: Breakers, key: str = KEY) -> BreakerState:
    return next(each.state for each in breakers.states() if each.key == key)


class TestClosed:
    def test_opens_at_the_failure_rate_and_says_why_and_for_how_long(self, clock: FrozenClock):
        breakers = made(clock)
        succeed(breakers, 2)
        fail(breakers, 2)
        clock.advance(20)

        with pytest.raises(BreakerOpen, match=r"'tool:get_order'.*of 4 calls 2 failed.*for 40 s") as refused:
            breakers.guard(KEY)

        error = refused.value
        assert (error.code, error.retryable, error.retry_after_seconds) == ("breaker_open", True, 40.0)
        assert (error.key, error.forced) == (KEY, False)

    def test_stays_closed_while_there_are_too_few_calls(self, clock: FrozenClock):
        breakers = made(clock)
        fail(breakers, 3)
        assert state_of(breakers) is BreakerState.CLOSED

    def test_a_success_that_makes_the_calls_enough_may_open(self, clock: FrozenClock):
        breakers = made(clock)
        fail(breakers, 3)
        succeed(breakers, 1)
        assert state_of(breakers) is BreakerState.OPEN

    def test_forgets_what_has_left_the_window(self, clock: FrozenClock):
        breakers = made(clock)
        succeed(breakers, 5)
        fail(breakers, 3)
        succeed(breakers, 8)
        fail(breakers, 3)
        assert state_of(breakers) is BreakerState.CLOSED

    def test_forgets_slow_calls_that_have_left_the_window(self, clock: FrozenClock):
        breakers = made(clock)
        succeed(breakers, 2)
        succeed(breakers, 2, seconds=5)
        succeed(breakers, 8)
        assert breakers.states()[0].slow == 0

    def test_opens_when_calls_succeed_too_slowly(self, clock: FrozenClock):
        breakers = made(clock)
        succeed(breakers, 1)
        succeed(breakers, 2, seconds=2.0)
        assert state_of(breakers) is BreakerState.CLOSED
        succeed(breakers, 1, seconds=2.0)
        assert state_of(breakers) is BreakerState.OPEN

    def test_a_stream_that_broke_off_counts_and_a_refused_request_does_not(self, clock: FrozenClock):
        breakers = made(clock)
        for _ in range(4):
            breakers.guard("refused").ended(ModelRefused("400"), 0.1)
            breakers.guard("broken").ended(ModelMalformed("broke off", after_text=True), 0.1)
        assert state_of(breakers, "refused") is BreakerState.CLOSED
        assert state_of(breakers, "broken") is BreakerState.OPEN

    def test_a_cancelled_call_says_nothing(self, clock: FrozenClock):
        breakers = made(clock)
        for _ in range(20):
            breakers.guard(KEY).ended(asyncio.CancelledError(), 30)
        assert next(each.calls for each in breakers.states()) == 0

    def test_each_call_is_counted_once_however_often_it_is_reported(self, clock: FrozenClock):
        breakers = made(clock)
        permit = breakers.guard(KEY)
        permit.success(0.1)
        permit.failure(0.1)
        permit.cancelled()
        status = breakers.states()[0]
        assert (status.calls, status.failed) == (1, 0)

    def test_keys_do_not_touch_one_another(self, clock: FrozenClock):
        breakers = made(clock)
        fail(breakers, 4)
        succeed(breakers, 1, "tool:other")


class TestHalfOpen:
    def opened(self, clock: FrozenClock) -> Breakers:
        breakers = made(clock)
        fail(breakers, 4)
        clock.advance(60)
        return breakers

    def test_lets_only_so_many_probes_run_at_once(self, clock: FrozenClock):
        breakers = self.opened(clock)
        first, _ = breakers.guard(KEY), breakers.guard(KEY)
        with pytest.raises(BreakerOpen) as refused:
            breakers.guard(KEY)
        assert refused.value.retry_after_seconds == 1.0
        first.success(0.1)
        breakers.guard(KEY)

    def test_lets_no_more_probes_run_than_are_needed(self, clock: FrozenClock):
        breakers = self.opened(clock)
        succeed(breakers, 3)
        breakers.guard(KEY)
        with pytest.raises(BreakerOpen):
            breakers.guard(KEY)

    def test_closes_after_good_probes_with_an_empty_window(self, clock: FrozenClock):
        breakers = self.opened(clock)
        succeed(breakers, 3)
        fail(breakers, 1)
        status = breakers.states()[0]
        assert (status.state, status.calls, status.failed) == (BreakerState.CLOSED, 0, 0)

    def test_opens_again_for_the_whole_time_after_bad_probes(self, clock: FrozenClock):
        breakers = self.opened(clock)
        fail(breakers, 2)
        clock.advance(59)
        with pytest.raises(BreakerOpen):
            breakers.guard(KEY)
        clock.advance(1)
        breakers.guard(KEY)

    def test_opens_again_after_slow_probes(self, clock: FrozenClock):
        breakers = self.opened(clock)
        succeed(breakers, 3, seconds=5)
        assert state_of(breakers) is BreakerState.OPEN

    def test_a_cancelled_probe_leaves_its_place_to_another(self, clock: FrozenClock):
        breakers = self.opened(clock)
        for _ in range(10):
            breakers.guard(KEY).cancelled()
        succeed(breakers, 4)
        assert state_of(breakers) is BreakerState.CLOSED

    def test_calls_that_began_before_it_opened_say_nothing_about_now(self, clock: FrozenClock):
        breakers = made(clock)
        old = [breakers.guard(KEY) for _ in range(10)]
        fail(breakers, 4)
        clock.advance(60)
        probe = breakers.guard(KEY)
        for permit in old:
            permit.failure(61)
        probe.success(0.1)
        status = breakers.states()[0]
        assert (status.state, status.calls, status.failed) == (BreakerState.HALF_OPEN, 1, 0)

    def test_what_is_cancelled_late_frees_no_place_of_a_probe(self, clock: FrozenClock):
        breakers = made(clock)
        old = [breakers.guard(KEY) for _ in range(4)]
        fail(breakers, 4)
        clock.advance(60)
        breakers.guard(KEY), breakers.guard(KEY)
        for permit in old:
            permit.cancelled()
        with pytest.raises(BreakerOpen):
            breakers.guard(KEY)

    def test_a_round_may_take_long_while_its_probes_are_young(self, clock: FrozenClock):
        breakers = self.opened(clock)
        first = breakers.guard(KEY)
        clock.advance(50)
        second = breakers.guard(KEY)
        clock.advance(50)
        with pytest.raises(BreakerOpen) as refused:
            breakers.guard(KEY)
        assert refused.value.retry_after_seconds == 1.0
        first.success(1)
        second.success(1)
        assert breakers.states()[0].calls == 2

    def test_probes_that_never_report_do_not_keep_it_shut_for_ever(self, clock: FrozenClock):
        breakers = self.opened(clock)
        lost = [breakers.guard(KEY), breakers.guard(KEY)]
        clock.advance(59.5)
        with pytest.raises(BreakerOpen) as refused:
            breakers.guard(KEY)
        assert refused.value.retry_after_seconds == pytest.approx(0.5)
        clock.advance(0.5)
        succeed(breakers, 4)
        lost[0].failure(60)
        assert state_of(breakers) is BreakerState.CLOSED


class TestForceOpen:
    def test_refuses_every_call_with_the_operators_reason_until_released(self, clock: FrozenClock):
        breakers = made(clock)
        succeed(breakers, 1)
        breakers.force_open(KEY, "wrong refunds, incident 7")
        clock.advance(1_000_000)
        with pytest.raises(BreakerOpen, match=r"switched off by an operator \(wrong refunds, incident 7\)") as refused:
            breakers.guard(KEY)
        assert (refused.value.forced, refused.value.retry_after_seconds) == (True, None)
        breakers.guard("tool:other")
        breakers.release(KEY)
        breakers.guard(KEY)

    def test_what_was_learnt_before_and_meanwhile_counts_after_the_release(self, clock: FrozenClock):
        breakers = made(clock)
        running = [breakers.guard(KEY) for _ in range(4)]
        breakers.force_open(KEY, "drill")
        for permit in running:
            permit.failure(0.1)
        breakers.release(KEY)
        with pytest.raises(BreakerOpen) as refused:
            breakers.guard(KEY)
        assert not refused.value.forced

    def test_holds_for_keys_that_were_never_called(self, clock: FrozenClock):
        breakers = made(clock)
        breakers.require_released("tenant:acme", "agent:shop")
        breakers.force_open("agent:shop", "drill")
        with pytest.raises(BreakerOpen, match="'agent:shop'"):
            breakers.require_released("tenant:acme", "agent:shop")
        assert [(each.key, each.state, each.forced_reason) for each in breakers.states()] == [
            ("agent:shop", BreakerState.OPEN, "drill")
        ]

    def test_releasing_what_is_not_forced_is_no_change(self, clock: FrozenClock):
        kept = Kept()
        made(clock, mirror=kept).release(KEY)
        assert kept.changes == []


class TestStates:
    def test_tell_what_an_operator_asks_about_a_breaker(self, clock: FrozenClock):
        breakers = made(clock)
        succeed(breakers, 2)
        fail(breakers, 2)
        clock.advance(15)
        succeed(breakers, 1, "tool:a")
        first, second = breakers.states()
        assert (first.key, first.state, first.retry_after_seconds) == ("tool:a", BreakerState.CLOSED, 0.0)
        assert (second.key, second.state, second.reason) == (KEY, BreakerState.OPEN, "of 4 calls 2 failed")
        assert (second.calls, second.failed, second.slow) == (4, 2, 0)
        assert (second.in_state_seconds, second.retry_after_seconds) == (15.0, 45.0)
        assert second.forced_reason is None

    def test_every_change_is_told_once(self, clock: FrozenClock):
        heard, mirror = Kept(), Kept()
        breakers = made(clock, on_change=heard.publish, mirror=mirror)
        fail(breakers, 4)
        clock.advance(60)
        succeed(breakers, 4)
        breakers.force_open(KEY, "drill")
        breakers.release(KEY)
        assert heard.became() == ["open", "half_open", "closed", "forced_open", "released"]
        assert mirror.changes == heard.changes
        assert heard.changes[0].at == FrozenClock().micros()


class TestReplicas:
    """Two replicas with clocks that agree, and a mirror that carries at once."""

    def pair(self, clock: FrozenClock) -> tuple[Breakers, Breakers]:
        class Wire:
            other: Breakers

            def publish(self, change: BreakerChange) -> None:
                self.other.adopt(change)

        there, back = Wire(), Wire()
        one, two = made(clock, mirror=there), made(clock, mirror=back)
        there.other, back.other = two, one
        return one, two

    def test_what_opens_here_is_open_there_for_the_same_time(self, clock: FrozenClock):
        one, two = self.pair(clock)
        fail(one, 4)
        clock.advance(20)
        with pytest.raises(BreakerOpen) as refused:
            two.guard(KEY)
        assert refused.value.retry_after_seconds == pytest.approx(40)

    def test_news_that_took_its_time_does_not_keep_it_open_for_longer(self, clock: FrozenClock):
        news = BreakerChange(KEY, "open", "down", clock.micros())
        clock.advance(20)
        breakers = made(clock)
        breakers.adopt(news)
        with pytest.raises(BreakerOpen) as refused:
            breakers.guard(KEY)
        assert refused.value.retry_after_seconds == pytest.approx(40)

    def test_each_sends_its_own_probes_and_good_ones_close_both(self, clock: FrozenClock):
        one, two = self.pair(clock)
        fail(one, 4)
        clock.advance(61)
        probe = two.guard(KEY)
        clock.advance(1)
        succeed(one, 4)
        assert state_of(two) is BreakerState.CLOSED
        probe.failure(0.1)
        assert two.states()[0].calls == 0

    def test_bad_probes_there_leave_our_own_to_decide(self, clock: FrozenClock):
        one, two = self.pair(clock)
        fail(one, 4)
        clock.advance(60)
        two.guard(KEY)
        fail(one, 2)
        assert state_of(two) is BreakerState.HALF_OPEN

    def test_a_kill_switch_holds_on_both(self, clock: FrozenClock):
        one, two = self.pair(clock)
        one.force_open(KEY, "drill")
        with pytest.raises(BreakerOpen):
            two.guard(KEY)
        clock.advance(1)
        two.release(KEY)
        one.guard(KEY)

    def test_old_news_changes_nothing(self, clock: FrozenClock):
        heard = Kept()
        breakers = made(clock, on_change=heard.publish)
        long_ago = clock.micros()
        clock.advance(100)
        breakers.adopt(BreakerChange(KEY, "open", "down", long_ago))
        assert state_of(breakers) is BreakerState.CLOSED

        fail(breakers, 4)
        breakers.adopt(BreakerChange(KEY, "closed", "fine", long_ago))
        assert state_of(breakers) is BreakerState.OPEN

        breakers.force_open("agent:shop", "drill")
        clock.advance(1)
        breakers.release("agent:shop")
        breakers.adopt(BreakerChange("agent:shop", "forced_open", "drill", long_ago))
        breakers.require_released("agent:shop")
        assert heard.became() == ["open", "forced_open", "released"]

    def test_our_own_word_coming_back_is_not_told_again(self, clock: FrozenClock):
        heard = Kept()
        breakers = made(clock, on_change=heard.publish)
        fail(breakers, 4)
        breakers.force_open(KEY, "drill")
        for change in list(heard.changes):
            breakers.adopt(change)
        assert heard.became() == ["open", "forced_open"]


class TestMemory:
    def test_drops_closed_breakers_before_open_ones(self, clock: FrozenClock):
        breakers = Breakers(clock, lambda key: POLICY, most_circuits=3)
        fail(breakers, 4, "tool:down")
        for number in range(10):
            succeed(breakers, 1, f"tool:{number}")
        assert [each.key for each in breakers.states()] == ["tool:8", "tool:9", "tool:down"]

    def test_makes_room_even_when_all_are_open(self, clock: FrozenClock):
        breakers = Breakers(clock, lambda key: POLICY, most_circuits=2)
        for number in range(4):
            fail(breakers, 4, f"tool:{number}")
        assert [each.key for each in breakers.states()] == ["tool:2", "tool:3"]


class TestKeys:
    def test_another_credential_is_another_breaker_and_can_not_be_read_from_it(self):
        one, two = model_key("openai", "gpt", "sk-secret-1"), model_key("openai", "gpt", "sk-secret-2")
        assert one != two
        assert "secret" not in one
        assert model_key("openai", "gpt", None) == "model:openai|gpt|none"
        assert tool_key("shop", "refund") == "tool:shop/refund"


class Model:
    """The breaker told plainly: lists in place of counters, and one question at a time."""

    def __init__(self) -> None:
        self.state = "closed"
        self.since = 0.0
        self.outcomes: list[tuple[bool, bool]] = []
        self.running: set[int] = set()
        self.probed_at = 0.0

    def enter(self, state: str, now: float) -> None:
        self.state, self.since, self.probed_at = state, now, now
        self.outcomes, self.running = [], set()

    def admits(self, now: float, call: int) -> bool:
        if self.state == "open":
            if now < self.since + POLICY.open_seconds:
                return False
            self.enter("half_open", now)
        if self.state == "half_open":
            busy = len(self.running) == POLICY.concurrent_probes
            enough = len(self.running) + len(self.outcomes) == POLICY.probes
            if busy or enough:
                if now < self.probed_at + POLICY.open_seconds:
                    return False
                self.enter("half_open", now)
            self.probed_at = now
        self.running.add(call)
        return True

    def ended(self, call: int, failed: bool, slow: bool, now: float) -> None:
        if call not in self.running:
            return
        self.running.remove(call)
        self.outcomes.append((failed, slow))
        if self.state == "closed":
            self.outcomes = self.outcomes[-POLICY.window_calls :]
            if len(self.outcomes) >= POLICY.minimum_calls and self.is_bad(len(self.outcomes)):
                self.enter("open", now)
        elif self.is_bad(POLICY.probes):
            self.enter("open", now)
        elif len(self.outcomes) == POLICY.probes:
            self.enter("closed", now)

    def is_bad(self, of: int) -> bool:
        failed = sum(failed for failed, _ in self.outcomes)
        slow = sum(slow for _, slow in self.outcomes)
        return failed >= POLICY.failure_rate * of or slow >= POLICY.slow_rate * of


class BreakerMachine(RuleBasedStateMachine):
    """Any order of calls, ends, waits and switches: breaker and model agree after every step."""

    permits = Bundle("permits")

    def __init__(self) -> None:
        super().__init__()
        self.clock = FrozenClock()
        self.heard = Kept()
        self.breakers = made(self.clock, on_change=self.heard.publish)
        self.model = Model()
        self.forced = False
        self.begun = 0

    @rule(target=permits)
    def call(self) -> tuple[int, Permit | None]:
        self.begun += 1
        number, now = self.begun, self.clock.monotonic()
        expected = not self.forced and self.model.admits(now, number)
        if expected:
            return number, self.breakers.guard(KEY)
        with pytest.raises(BreakerOpen) as refused:
            self.breakers.guard(KEY)
        assert refused.value.forced is self.forced
        return number, None

    @rule(permit=permits, failed=st.booleans(), slow=st.booleans())
    def end(self, permit: tuple[int, Permit | None], failed: bool, slow: bool) -> None:
        number, given = permit
        if given is not None:
            report: Callable[[float], None] = given.failure if failed else given.success
            report(2.0 if slow else 1.999)
            self.model.ended(number, failed, slow, self.clock.monotonic())

    @rule(permit=permits)
    def cancel(self, permit: tuple[int, Permit | None]) -> None:
        number, given = permit
        if given is not None:
            given.cancelled()
            self.model.running.discard(number)

    @rule(failures=st.integers(1, 8))
    def outage(self, failures: int) -> None:
        """Makes the far states common."""
        for _ in range(failures):
            self.end(self.call(), True, False)

    @rule(seconds=st.sampled_from([0.5, 30.0, 59.5, 60.0, 61.0]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @precondition(lambda self: not self.forced)
    @rule()
    def force_open(self) -> None:
        self.breakers.force_open(KEY, "drill")
        self.forced = True

    @precondition(lambda self: self.forced)
    @rule()
    def release(self) -> None:
        self.breakers.release(KEY)
        self.forced = False

    @invariant()
    def agrees(self) -> None:
        for status in self.breakers.states():
            expected = "open" if self.forced else self.model.state
            assert status.state.value == expected
            if self.model.state == "closed" and self.begun:
                assert status.calls == len(self.model.outcomes)
                assert status.failed == sum(failed for failed, _ in self.model.outcomes)
                assert status.slow == sum(slow for _, slow in self.model.outcomes)

    @invariant()
    def tells_its_state(self) -> None:
        own = [became for became in self.heard.became() if became not in ("forced_open", "released")]
        assert (own[-1] if own else "closed") == self.model.state


BreakerMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestAgainstAModel = BreakerMachine.TestCase
