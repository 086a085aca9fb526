"""One circuit: its window of calls and its state. No clock of its own; every method is told the time."""

from handrail.serving.resilience.policy import BreakerPolicy, BreakerState, after_probe, why_open

_FAILED = 1
_SLOW = 2


class Circuit:
    """The state machine of one key. Times are seconds on one monotonic clock.

    `generation` changes with every state and every round of probes: what a call reports is worth nothing to a state
    that it was not let through by.
    """

    __slots__ = (
        "_at", "_probed_at", "_probing", "_ring", "calls", "failed", "generation", "key", "policy", "reason", "since",
        "slow", "state",
    )  # fmt: skip

    def __init__(self, key: str, policy: BreakerPolicy, now: float) -> None:
        self.key = key
        self.policy = policy
        self.generation = 0
        self._ring = bytearray(policy.window_calls)
        self._enter(BreakerState.CLOSED, "no calls yet", now)

    def wait_seconds(self, now: float) -> float | None:
        """`None` lets one call through; else seconds until it is worth asking again."""
        if self.state is BreakerState.OPEN:
            left = self.since + self.policy.open_seconds - now
            if left > 0:
                return left
            self._enter(BreakerState.HALF_OPEN, f"probing after {self.policy.open_seconds:g} s", now)
        if self.state is BreakerState.HALF_OPEN:
            return self._probe(now)
        return None

    def count(self, *, failed: bool, seconds: float, now: float) -> None:
        """A call of this generation has ended."""
        outcome = (_FAILED if failed else 0) | (_SLOW if seconds >= self.policy.slow_seconds else 0)
        if self.state is BreakerState.HALF_OPEN:
            self._count_probe(outcome, now)
            return
        ring, at = self._ring, self._at
        if self.calls == len(ring):
            gone = ring[at]
            if gone:
                self.failed -= gone & _FAILED
                self.slow -= gone >> 1
        else:
            self.calls += 1
        ring[at] = outcome
        self._at = at + 1 if at + 1 < len(ring) else 0
        if outcome:
            self.failed += outcome & _FAILED
            self.slow += outcome >> 1
        # A success may open, too: the one that makes the number of calls enough to conclude from.
        if (self.failed or self.slow) and (reason := why_open(self.policy, self.calls, self.failed, self.slow)):
            self._enter(BreakerState.OPEN, reason, now)

    def cancel(self) -> None:
        """A call of this generation ended without saying anything; a probe's place is free for another."""
        self._probing -= 1

    def open(self, reason: str, since: float) -> None:
        self._enter(BreakerState.OPEN, reason, since)

    def close(self, reason: str, now: float) -> None:
        self._enter(BreakerState.CLOSED, reason, now)

    def _probe(self, now: float) -> float | None:
        policy = self.policy
        if self._probing >= policy.concurrent_probes or self._probing + self.calls >= policy.probes:
            stuck_in = self._probed_at + policy.open_seconds - now
            if stuck_in > 0:
                return min(1.0, stuck_in)
            # A probe that never reports must not keep everybody out for ever.
            self._enter(BreakerState.HALF_OPEN, "probes did not report", now)
        self._probing += 1
        self._probed_at = now
        return None

    def _count_probe(self, outcome: int, now: float) -> None:
        self._probing -= 1
        self.calls += 1
        self.failed += outcome & _FAILED
        self.slow += outcome >> 1
        state, reason = after_probe(self.policy, self.calls, self.failed, self.slow)
        if state is not BreakerState.HALF_OPEN:
            self._enter(state, reason, now)

    def _enter(self, state: BreakerState, reason: str, now: float) -> None:
        self.generation += 1
        self.state = state
        self.reason = reason
        self.since = now
        # The tally that opened it stays to be seen; every other state begins with an empty one.
        if state is not BreakerState.OPEN or self.generation == 1:
            self.calls = self.failed = self.slow = 0
        self._at = 0
        self._probing = 0
        self._probed_at = now
