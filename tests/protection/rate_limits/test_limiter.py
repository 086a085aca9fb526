from fractions import Fraction

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from handrail.core.clock import FrozenClock
from handrail.core.principal import Principal
from handrail.protection.rate_limits import RateLimited, RateLimiter

ANN = Principal("acme", "ann")


class TestRequire:
    def test_refuses_with_a_code_a_wait_and_what_is_allowed(self, clock: FrozenClock) -> None:
        limiter = RateLimiter(clock, per_minute=30, burst=2)
        limiter.require(ANN)
        limiter.require(ANN)

        with pytest.raises(RateLimited, match=r"30 a minute and 2 at once.*in 2\.0 s") as refused:
            limiter.require(ANN)

        error = refused.value
        assert (error.code, error.retryable, error.retry_after_seconds) == ("rate_limited", True, 2.0)
        assert error.decision == (False, 2, 0, 4.0, 2.0)

    def test_lets_a_principal_in_again_after_the_wait_it_named(self, clock: FrozenClock) -> None:
        limiter = RateLimiter(clock, per_minute=30, burst=1)
        limiter.require(ANN)
        clock.advance(2)

        assert limiter.require(ANN).remaining == 0

    @pytest.mark.parametrize("other", [Principal("acme", "bob"), Principal("other", "ann")])
    def test_counts_every_user_of_every_tenant_alone(self, clock: FrozenClock, other: Principal) -> None:
        limiter = RateLimiter(clock, per_minute=1, burst=1)
        limiter.require(ANN)

        assert limiter.require(other).allowed

    def test_counts_two_keys_of_one_user_together(self, clock: FrozenClock) -> None:
        limiter = RateLimiter(clock, per_minute=1, burst=1)
        limiter.require(Principal("acme", "ann", key_id="key_1"))

        with pytest.raises(RateLimited):
            limiter.require(Principal("acme", "ann", key_id="key_2"))

    @pytest.mark.parametrize(("per_minute", "burst"), [(0, 1), (-1, 1), (1, 0)])
    def test_a_rate_that_lets_nobody_in_is_a_mistake(self, clock: FrozenClock, per_minute: float, burst: int) -> None:
        with pytest.raises(ValueError, match="per_minute > 0 and burst >= 1"):
            RateLimiter(clock, per_minute=per_minute, burst=burst)


class TestMemory:
    def test_forgets_those_who_have_their_whole_burst_back(self, clock: FrozenClock) -> None:
        limiter = RateLimiter(clock, per_minute=60, burst=5)
        for n in range(100):
            limiter.require(Principal("acme", str(n)))
        clock.advance(10)
        for _ in range(100):
            clock.advance(10)
            limiter.require(ANN)

        assert len(limiter) == 1

    def test_is_bounded_even_when_all_are_busy(self, clock: FrozenClock) -> None:
        limiter = RateLimiter(clock, per_minute=1, burst=5, most_principals=50)
        for n in range(500):
            limiter.require(Principal("acme", str(n)))

        assert len(limiter) == 50


class Limits(RuleBasedStateMachine):
    """Against a bucket of exact fractions: tokens drip in, a turn takes one."""

    PER_MINUTE, BURST = 40, 3

    def __init__(self) -> None:
        super().__init__()
        self.clock = FrozenClock()
        self.limiter = RateLimiter(self.clock, per_minute=self.PER_MINUTE, burst=self.BURST)
        self.tokens: dict[str, Fraction] = {}

    @rule(quarters=st.integers(1, 40))
    def time_passes(self, quarters: int) -> None:
        self.clock.advance(quarters / 4)
        for name, tokens in self.tokens.items():
            self.tokens[name] = min(Fraction(self.BURST), tokens + Fraction(quarters * self.PER_MINUTE, 240))

    @rule(name=st.sampled_from("abc"))
    def somebody_asks(self, name: str) -> None:
        tokens = self.tokens.get(name, Fraction(self.BURST))
        if tokens >= 1:
            assert self.limiter.require(Principal("acme", name)).remaining == int(tokens - 1)
            self.tokens[name] = tokens - 1
            return
        with pytest.raises(RateLimited) as refused:
            self.limiter.require(Principal("acme", name))
        wait = (1 - tokens) * Fraction(60, self.PER_MINUTE)
        assert refused.value.retry_after_seconds == pytest.approx(float(wait))

    @invariant()
    def remembers_nobody_it_never_met(self) -> None:
        assert len(self.limiter) <= len(self.tokens)


TestLimits = Limits.TestCase
TestLimits.settings = settings(max_examples=40, stateful_step_count=30, deadline=None, database=None)
