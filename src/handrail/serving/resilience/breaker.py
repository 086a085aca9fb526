"""Circuit breakers by key: stop calling what keeps failing, or what an operator switched off."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from handrail.core.clock import Clock
from handrail.serving.resilience.circuit import Circuit
from handrail.serving.resilience.policy import BreakerPolicy, BreakerState, NotAttempted, outcome_of

MOST_CIRCUITS = 10_000
Became = Literal["closed", "open", "half_open", "forced_open", "released"]


class BreakerOpen(NotAttempted):
    """The breaker of `key` let nothing through; `forced` when an operator opened it, and then nobody knows how long."""

    code = "breaker_open"

    def __init__(
        self, key: str, reason: str, *, retry_after_seconds: float | None = None, forced: bool = False
    ) -> None:
        when = "until an operator releases it" if retry_after_seconds is None else f"for {retry_after_seconds:.0f} s"
        by = "switched off by an operator" if forced else "failing"
        super().__init__(
            f"{key!r} is {by} ({reason}) and is not called {when}; try again later or use something else",
            retry_after_seconds=retry_after_seconds,
        )
        self.key = key
        self.forced = forced


@dataclass(frozen=True, slots=True)
class BreakerChange:
    """A breaker's new state; `at` is microseconds since 1970 UTC."""

    key: str
    became: Became
    reason: str
    at: int


@dataclass(frozen=True, slots=True)
class BreakerStatus:
    """One breaker as metrics, API and console show it.

    `state` is `open` too when `forced_reason` is given. `calls`, `failed` and `slow` are of the window, of the round
    of probes, or of what opened it. `retry_after_seconds` is 0 when a call would be let through to probe.
    """

    key: str
    state: BreakerState
    reason: str
    calls: int
    failed: int
    slow: int
    in_state_seconds: float
    retry_after_seconds: float | None
    forced_reason: str | None


class BreakerMirror(Protocol):
    """Where replicas tell one another. Its reader hands what others tell to `Breakers.adopt`."""

    def publish(self, change: BreakerChange) -> None:
        """Must neither wait nor raise: a replica that can't reach the others goes on with what it sees itself."""
        ...


OnChange = Callable[[BreakerChange], None]
_DEFAULT = BreakerPolicy()


def model_key(provider: str, model: str, credential: str | None) -> str:
    """The key of a model's breaker: another credential has other limits. The credential can't be read from it."""
    digest = hashlib.sha256(credential.encode()).hexdigest()[:8] if credential else "none"
    return f"model:{provider}|{model}|{digest}"


def named(key: str) -> tuple[str, str]:
    """What a key is of, and its name for people: `model` and `host/model`, `tool` and `agent/tool`. Which credential it
    is helps nobody."""
    kind, _, name = key.partition(":")
    return kind, (name.rpartition("|")[0].replace("|", "/", 1) if kind == "model" else name) or kind


def is_model_key(key: str) -> bool:
    """Whether `model_key` made it."""
    return key.startswith("model:")


def tool_key(agent: str, tool: str) -> str:
    """The key of a tool's breaker: the tool of the same name of another agent is another one."""
    return f"tool:{agent}/{tool}"


def _default_policy(key: str) -> BreakerPolicy:
    return _DEFAULT


class Permit:
    """The right to make one call. Report its end once, by one of the methods; what comes after is ignored."""

    __slots__ = ("_breakers", "_circuit", "_generation")

    def __init__(self, breakers: "Breakers", circuit: Circuit) -> None:
        self._breakers = breakers
        self._circuit: Circuit | None = circuit
        self._generation = circuit.generation

    def success(self, seconds: float) -> None:
        """The call took `seconds` and was answered; slow ones count as slow."""
        circuit, self._circuit = self._circuit, None
        if circuit is not None and circuit.generation == self._generation:
            self._breakers.count(circuit, failed=False, seconds=seconds)

    def failure(self, seconds: float) -> None:
        """The call failed, timed out, or its stream broke off, after `seconds`."""
        circuit, self._circuit = self._circuit, None
        if circuit is not None and circuit.generation == self._generation:
            self._breakers.count(circuit, failed=True, seconds=seconds)

    def cancelled(self) -> None:
        """The call was given up for reasons of our own: it says nothing."""
        circuit, self._circuit = self._circuit, None
        if circuit is not None and circuit.generation == self._generation:
            circuit.cancel()

    def ended(self, error: BaseException | None, seconds: float) -> None:
        """Whichever of the three the error means."""
        outcome = outcome_of(error)
        if outcome == "success":
            self.success(seconds)
        elif outcome == "failure":
            self.failure(seconds)
        else:
            self.cancelled()


class Breakers:
    """All breakers of one process, made when a key is first seen. For one event loop.

    Open: with nothing known of a key, and with a mirror that is silent, calls are let through and counted here.

    Args:
        policy_of: the policy of a key, asked once, when the key is first seen.
        mirror: told of what opens and closes here, for the other replicas.
        on_change: told of every change, those from other replicas included.
    """

    def __init__(
        self,
        clock: Clock,
        policy_of: Callable[[str], BreakerPolicy] | None = None,
        *,
        mirror: BreakerMirror | None = None,
        on_change: OnChange | None = None,
        most_circuits: int = MOST_CIRCUITS,
    ) -> None:
        self._clock = clock
        self._now = clock.monotonic
        self._policy_of = policy_of or _default_policy
        self._mirror = mirror
        self._on_change = on_change
        self._most_circuits = most_circuits
        self._circuits: dict[str, Circuit] = {}
        self._forced: dict[str, str] = {}
        # When an operator last decided about a key: an older word that arrives later is no longer true.
        self._ruled_at: dict[str, int] = {}

    def guard(self, key: str) -> Permit:
        """The permit for one call, to be reported on.

        Raises:
            BreakerOpen: no call may be made now.
        """
        if self._forced:
            self.require_released(key)
        circuit = self._circuits.get(key) or self._made(key)
        if circuit.state is not BreakerState.CLOSED:
            self._require(circuit)
        return Permit(self, circuit)

    def require_released(self, *keys: str) -> None:
        """For what has only a switch (an agent, a tenant): raise `BreakerOpen` if an operator forced one open."""
        for key in keys:
            if (reason := self._forced.get(key)) is not None:
                raise BreakerOpen(key, reason, forced=True)

    def force_open(self, key: str, reason: str) -> None:
        """Refuse every call of `key` until `release`; calls that run already go on and are counted."""
        self._rule(BreakerChange(key, "forced_open", reason, self._clock.micros()), ours=True)

    def release(self, key: str, reason: str = "released by an operator") -> None:
        """End what `force_open` began; what the calls themselves say counts again."""
        if key in self._forced:
            self._rule(BreakerChange(key, "released", reason, self._clock.micros()), ours=True)

    def adopt(self, change: BreakerChange) -> None:
        """Do as another replica did. Half-open is each replica's own: everyone sends its own few probes."""
        if change.became in ("forced_open", "released"):
            # Not at the same time either: that is our own word coming back.
            if change.at > self._ruled_at.get(change.key, 0):
                self._rule(change, ours=False)
            return
        circuit = self._circuits.get(change.key) or self._made(change.key)
        age = max(0.0, (self._clock.micros() - change.at) / 1_000_000)
        now = self._now()
        if change.became == "open" and circuit.state is BreakerState.CLOSED and age < circuit.policy.open_seconds:
            circuit.open(change.reason, now - age)
        elif change.became == "closed" and circuit.state is not BreakerState.CLOSED and age < now - circuit.since:
            circuit.close(change.reason, now)
        else:
            return
        self._tell(change, ours=False)

    def states(self) -> list[BreakerStatus]:
        """Every breaker that is known here, by key."""
        keys = self._circuits.keys() | self._forced.keys()
        return [self._status(key) for key in sorted(keys)]

    def count(self, circuit: Circuit, *, failed: bool, seconds: float) -> None:
        """Called by permits: a call has ended."""
        before = circuit.generation
        circuit.count(failed=failed, seconds=seconds, now=self._now())
        if circuit.generation != before:
            self._moved(circuit)

    def _require(self, circuit: Circuit) -> None:
        before = circuit.state
        wait = circuit.wait_seconds(self._now())
        if circuit.state is not before:
            self._moved(circuit)
        if wait is not None:
            raise BreakerOpen(circuit.key, circuit.reason, retry_after_seconds=wait)

    def _made(self, key: str) -> Circuit:
        if len(self._circuits) >= self._most_circuits:
            # One that is closed loses a window of good news; only when all are open does an open one go.
            closed = (name for name, each in self._circuits.items() if each.state is BreakerState.CLOSED)
            del self._circuits[next(closed, None) or next(iter(self._circuits))]
        circuit = self._circuits[key] = Circuit(key, self._policy_of(key), self._now())
        return circuit

    def _rule(self, change: BreakerChange, *, ours: bool) -> None:
        self._ruled_at[change.key] = change.at
        if change.became == "forced_open":
            self._forced[change.key] = change.reason
        elif self._forced.pop(change.key, None) is None:
            return
        self._tell(change, ours=ours)

    def _moved(self, circuit: Circuit) -> None:
        change = BreakerChange(circuit.key, circuit.state.value, circuit.reason, self._clock.micros())
        self._tell(change, ours=True)

    def _tell(self, change: BreakerChange, *, ours: bool) -> None:
        if ours and self._mirror is not None:
            self._mirror.publish(change)
        if self._on_change is not None:
            self._on_change(change)

    def _status(self, key: str) -> BreakerStatus:
        forced, circuit, now = self._forced.get(key), self._circuits.get(key), self._now()
        if circuit is None:
            return BreakerStatus(key, BreakerState.OPEN, forced or "", 0, 0, 0, 0.0, None, forced)
        left = max(0.0, circuit.since + circuit.policy.open_seconds - now)
        return BreakerStatus(
            key=key,
            state=circuit.state if forced is None else BreakerState.OPEN,
            reason=circuit.reason,
            calls=circuit.calls,
            failed=circuit.failed,
            slow=circuit.slow,
            in_state_seconds=now - circuit.since,
            retry_after_seconds=None if forced is not None else left if circuit.state is BreakerState.OPEN else 0.0,
            forced_reason=forced,
        )
