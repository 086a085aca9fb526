import asyncio
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handrail.core.deadline import DeadlineExceeded
from handrail.core.errors import HandrailError, UsageError
from handrail.core.models import ModelMalformed, ModelRateLimited, ModelRefused, ModelUnavailable
from handrail.serving.resilience import (
    BreakerOpen,
    BreakerPolicy,
    BreakerState,
    Overloaded,
    RetryPolicy,
    is_worth_retrying,
    outcome_of,
)
from handrail.serving.resilience.policy import after_probe, next_delay, retry_after_seconds, why_open

POLICY = BreakerPolicy(window_calls=20, minimum_calls=10, failure_rate=0.5, slow_rate=0.8, probes=10)


class TestOutcomeOf:
    @pytest.mark.parametrize(
        ("error", "outcome"),
        [
            (None, "success"),
            (ModelUnavailable("down"), "failure"),
            (ModelRateLimited("429"), "failure"),
            (ModelMalformed("broke off", after_text=True), "failure"),
            (DeadlineExceeded("late"), "failure"),
            (ConnectionResetError(), "failure"),
            (ValueError("a bug in a tool"), "failure"),
            (ModelRefused("400"), "success"),
            (UsageError("no such order"), "success"),
            (asyncio.CancelledError(), "cancelled"),
            (GeneratorExit(), "cancelled"),
            (KeyboardInterrupt(), "cancelled"),
            (BreakerOpen("tool:x", "down"), "cancelled"),
            (Overloaded("full"), "cancelled"),
        ],
    )
    def test_tells_the_others_failure_from_ours_and_the_callers(self, error: BaseException | None, outcome: str):
        assert outcome_of(error) == outcome


class TestWhyOpen:
    @pytest.mark.parametrize(
        ("calls", "failed", "slow", "reason"),
        [
            (9, 9, 9, None),
            (10, 4, 0, None),
            (10, 5, 0, "of 10 calls 5 failed"),
            (20, 9, 15, None),
            (20, 0, 16, "of 20 calls 16 took 10 s or longer"),
        ],
    )
    def test_opens_at_the_rate_and_not_below_it_nor_with_too_few_calls(
        self, calls: int, failed: int, slow: int, reason: str | None
    ):
        assert why_open(POLICY, calls, failed, slow) == reason

    def test_a_rate_that_floats_can_only_round_is_reached_at_its_number_of_calls(self):
        policy = BreakerPolicy(failure_rate=0.07)
        assert why_open(policy, 100, 7, 0)


class TestAfterProbe:
    @pytest.mark.parametrize(
        ("calls", "failed", "slow", "state"),
        [
            (1, 0, 0, BreakerState.HALF_OPEN),
            (9, 4, 7, BreakerState.HALF_OPEN),
            (5, 5, 0, BreakerState.OPEN),
            (8, 0, 8, BreakerState.OPEN),
            (10, 4, 7, BreakerState.CLOSED),
        ],
    )
    def test_opens_once_it_can_not_get_better_and_closes_after_the_last(
        self, calls: int, failed: int, slow: int, state: BreakerState
    ):
        assert after_probe(POLICY, calls, failed, slow)[0] is state


class TestBreakerPolicy:
    @pytest.mark.parametrize(
        "wrong",
        [
            {"minimum_calls": 0},
            {"minimum_calls": 101},
            {"failure_rate": 0},
            {"slow_rate": 1.1},
            {"slow_seconds": 0},
            {"open_seconds": 0},
            {"concurrent_probes": 0},
            {"probes": 2, "concurrent_probes": 3},
        ],
    )
    def test_refuses_what_would_never_open_or_never_close(self, wrong: dict[str, Any]):
        with pytest.raises(ValueError, match=next(iter(wrong)).partition("_")[0]):
            BreakerPolicy(**wrong)


class TestIsWorthRetrying:
    @pytest.mark.parametrize(
        ("error", "worth"),
        [
            (ModelUnavailable("down"), True),
            (ModelRateLimited("429"), True),
            (ModelRefused("400"), False),
            (UsageError("no such order"), False),
            (ModelMalformed("broke off", after_text=True), False),
            (BreakerOpen("model:x", "down", retry_after_seconds=0.1), False),
            (Overloaded("full", retry_after_seconds=0.1), False),
            (ConnectionResetError(), False),
            (asyncio.CancelledError(), False),
        ],
    )
    def test_only_a_named_passing_failure_that_the_user_has_seen_nothing_of(self, error: BaseException, worth: bool):
        assert is_worth_retrying(error) is worth

    def test_a_replayable_call_may_be_made_again_after_text(self):
        assert is_worth_retrying(ModelMalformed("broke off", after_text=True), replayable=True)


class Highest(random.Random):
    def random(self) -> float:
        return 1.0 - 2**-53


DOWN = ModelUnavailable("down")
RETRIES = RetryPolicy(attempts=5, base_seconds=0.2, most_seconds=1.0, least_attempt_seconds=0.1)


class TestNextDelay:
    @pytest.mark.parametrize(("attempt", "most"), [(1, 0.2), (2, 0.4), (3, 0.8), (4, 1.0)])
    def test_the_longest_wait_doubles_up_to_its_most(self, attempt: int, most: float):
        assert next_delay(RETRIES, attempt, DOWN, 60, Highest()) == pytest.approx(most)

    def test_jitter_is_full(self):
        rng = random.Random(1)
        delays = [next_delay(RETRIES, 1, DOWN, 60, rng) or 0.0 for _ in range(1000)]
        assert min(delays) < 0.01
        assert max(delays) > 0.19
        assert sum(delays) / 1000 == pytest.approx(0.1, abs=0.01)

    def test_ends_after_the_last_attempt(self):
        assert next_delay(RETRIES, 5, DOWN, 60, Highest()) is None

    def test_does_not_overflow_however_many_attempts_are_allowed(self):
        assert next_delay(RetryPolicy(attempts=5000), 4000, DOWN, 60, Highest()) == pytest.approx(5.0)

    def test_waits_as_long_as_the_provider_said_and_jitters_on_top(self):
        told = ModelRateLimited("429", retry_after_seconds=3)
        assert next_delay(RETRIES, 1, told, 60, Highest()) == pytest.approx(3.2)

    def test_gives_up_at_once_when_the_deadline_does_not_allow_what_the_provider_said(self):
        told = ModelRateLimited("429", retry_after_seconds=30)
        assert next_delay(RETRIES, 1, told, 30, Highest()) is None

    @given(
        attempt=st.integers(1, 4),
        told=st.none() | st.floats(-5, 100),
        remaining=st.floats(0, 100),
        seed=st.integers(0, 2**32),
    )
    def test_always_leaves_time_for_the_attempt_and_never_comes_too_soon(
        self, attempt: int, told: float | None, remaining: float, seed: int
    ):
        error = ModelRateLimited("429", retry_after_seconds=told)
        delay = next_delay(RETRIES, attempt, error, remaining, random.Random(seed))
        if delay is None:
            assert remaining - (told or 0) <= 0.1 + 1e-9 or remaining <= 0.1
        else:
            assert delay >= (told or 0)
            assert remaining - delay >= 0.1 - 1e-9


class TestRetryPolicy:
    @pytest.mark.parametrize(
        "wrong",
        [
            {"attempts": 0},
            {"budget_burst": 0},
            {"base_seconds": 0},
            {"most_seconds": 0.1},
            {"least_attempt_seconds": -1},
            {"budget_ratio": 1.5},
        ],
    )
    def test_refuses_what_makes_no_sense(self, wrong: dict[str, Any]):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            RetryPolicy(**wrong)


class TestRetryAfterSeconds:
    @pytest.mark.parametrize(
        ("waiting", "most_running", "mean", "seconds"),
        [(0, 10, 0.5, 1), (99, 10, 1.0, 10), (100, 10, 1.0, 11), (10_000, 1, 5.0, 60)],
    )
    def test_is_how_long_those_before_take_in_whole_seconds_from_1_to_60(
        self, waiting: int, most_running: int, mean: float, seconds: float
    ):
        assert retry_after_seconds(waiting, most_running, mean) == seconds


def test_what_was_not_attempted_may_be_sent_again_by_the_client():
    assert all(issubclass(each, HandrailError) and each.retryable for each in (BreakerOpen, Overloaded))
