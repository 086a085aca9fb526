"""What the rules look at: values that a flow has read, each for one tenant."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

FIVE_MINUTES, HALF_HOUR, HOUR, SIX_HOURS, DAY = 300, 1800, 3600, 21_600, 86_400
WINDOWS = (FIVE_MINUTES, HALF_HOUR, HOUR, SIX_HOURS, DAY)

# Fine and bad speak for themselves; quiet is too little to judge by, which never fires and says why.
State = Literal["bad", "fine", "quiet"]
Measure = Literal["turns", "refusals", "tripped", "side_effects"]
MEASURES: tuple[Measure, ...] = ("turns", "refusals", "tripped", "side_effects")


@dataclass(frozen=True, slots=True)
class Objective:
    """What an agent promises in its `agent.yaml`: shares of turns between 0 and 1, and seconds by latency class."""

    availability: float
    latency_share: float
    latency_seconds: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Counted:
    """Turns, and how many of them used up error budget."""

    turns: int = 0
    bad: int = 0


@dataclass(frozen=True, slots=True)
class Traffic:
    """Turns of one window that ends now; `timed` by latency class, those that were slow as the bad ones."""

    turns: int = 0
    failed: int = 0
    timed: Mapping[str, Counted] = field(default_factory=dict[str, Counted])


@dataclass(frozen=True, slots=True)
class AgentTraffic:
    """One agent's turns.

    Attributes:
        objective: what its `agent.yaml` says.
        windows: by length in seconds, one for each of `WINDOWS`.
        same_hour: turns in the hour that ended at this time of day, one a day before today.
    """

    tenant_id: str
    agent: str
    objective: Objective
    windows: Mapping[int, Traffic]
    same_hour: Sequence[float] = ()

    def of(self, seconds: int) -> Traffic:
        return self.windows.get(seconds, Traffic())


@dataclass(frozen=True, slots=True)
class Dependency:
    """Something that is down: a breaker that is open, a part of a process that is not ready."""

    tenant_id: str
    kind: str
    name: str
    said: str


@dataclass(frozen=True, slots=True)
class Budget:
    """What was spent of a budget, and where it is heading; `forecast_micros` is None while nobody can tell."""

    tenant_id: str
    name: str
    spent_micros: int
    limit_micros: int
    forecast_micros: int | None = None


@dataclass(frozen=True, slots=True)
class PrincipalActivity:
    """What one principal did in the last hour, and does in an hour in which they are there at all.

    Attributes:
        principal: a pseudonym.
        usual: the mean of the hours before, of those with any turn.
        usual_hours: how many these were.
    """

    tenant_id: str
    principal: str
    hour: Mapping[Measure, int]
    usual: Mapping[Measure, float] = field(default_factory=dict[Measure, float])
    usual_hours: int = 0


@dataclass(frozen=True, slots=True)
class ApprovalQueue:
    """What waits for people, of one agent."""

    tenant_id: str
    agent: str
    waiting: int
    oldest_seconds: float


@dataclass(frozen=True, slots=True)
class Quality:
    """Bad ones among all that were said, in the last day and in the week before."""

    tenant_id: str
    agent: str
    measure: str
    bad: float
    count: int
    usual_bad: float
    usual_count: int


@dataclass(frozen=True, slots=True)
class FailedJob:
    """A job whose newest run failed."""

    tenant_id: str
    job: str
    code: str
    run_id: str


@dataclass(frozen=True, slots=True)
class Gauge:
    """One figure of the deployment's upkeep, such as the seconds by which the audit log is behind."""

    name: str
    value: float
    tenant_id: str = "*"


@dataclass(frozen=True, slots=True)
class ChannelHealth:
    """Deliveries of one channel that wait because it failed."""

    channel: str
    failures: int
    oldest_seconds: float
    error: str


@dataclass(frozen=True, slots=True)
class Signals:
    """All that was read for one look at the rules. `missing` names rules whose source could not be read: what they
    said before stands. `gauges` come from the processes' own reports, `upkeep` from the tables."""

    agents: Sequence[AgentTraffic] = ()
    dependencies: Sequence[Dependency] = ()
    budgets: Sequence[Budget] = ()
    principals: Sequence[PrincipalActivity] = ()
    approvals: Sequence[ApprovalQueue] = ()
    quality: Sequence[Quality] = ()
    jobs: Sequence[FailedJob] = ()
    gauges: Sequence[Gauge] = ()
    upkeep: Sequence[Gauge] = ()
    channels: Sequence[ChannelHealth] = ()
    missing: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Finding:
    """What one rule says of one thing: labels that tell it apart, and the numbers behind the word."""

    rule: str
    tenant_id: str
    labels: Mapping[str, str]
    state: State
    said: str
    numbers: Mapping[str, float] = field(default_factory=dict[str, float])
