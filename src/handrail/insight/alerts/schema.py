"""What `alerts.yaml` may say: the deployment's rules over the shipped ones, who is told, and when nobody is."""

import re
from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, model_validator

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

Severity = Literal["info", "warning", "critical"]
Duration = Annotated[str, StringConstraints(pattern=r"^(0s|([1-9][0-9]{0,6}[smhd])+)$", max_length=40)]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]*$", max_length=63)]
Label = Annotated[str, StringConstraints(min_length=1, max_length=120)]
Share = Annotated[float, Field(gt=0, lt=1)]


def seconds(duration: str) -> int:
    """`1h30m` as 5400."""
    return sum(int(number) * _UNITS[unit] for number, unit in re.findall(r"(\d+)([smhd])", duration))


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Rule(_Strict):
    """What all rules have."""

    enabled: bool = Field(default=True, description="Whether the rule is looked at.")
    holds: Duration = Field(default="1m", alias="for", description="How long it must hold before it fires.")
    clears_after: Duration = Field(default="2m", description="How long it must be fine again before it is resolved.")
    severity: Severity = "warning"
    labels: dict[Name, Label] = Field(default_factory=dict[str, str], description="Further labels of its alerts.")
    runbook: str | None = Field(default=None, max_length=500, description="Address of a page of your own.")

    @property
    def for_seconds(self) -> int:
        return seconds(self.holds)

    @property
    def clear_seconds(self) -> int:
        return seconds(self.clears_after)


class ErrorRate(Rule):
    """Of an agent's turns in five minutes, more fail than usual."""

    severity: Severity = "critical"
    above: Share = Field(default=0.05, description="The share that may fail; it fires when more do for certain.")
    times_usual: float = Field(default=2.0, ge=1, description="And so many times the share of the last day.")
    minimum_turns: int = Field(default=20, ge=5, description="With fewer turns nothing is said.")


class Burn(Rule):
    """Multi-window burn rate: a long and a short window use up the error budget too fast, or four of five are bad."""

    objective: Share | None = Field(
        default=None, description="The share of turns that must be good; left out, the objective of each agent."
    )
    fast: float = Field(default=14.4, gt=1, description="Burn rate over 1 h and 5 min.")
    slow: float = Field(default=6.0, gt=1, description="Burn rate over 6 h and 30 min.")
    minimum_turns: int = Field(default=50, ge=10, description="Turns in the long window, and a tenth in the short.")


class AvailabilitySlo(Burn):
    """Turns fail faster than the error budget allows."""

    severity: Severity = "critical"


class LatencySlo(Burn):
    """Turns are slow faster than the error budget allows."""

    fast: float = Field(default=10.0, gt=1)
    slow: float = Field(default=4.0, gt=1)
    target_seconds: float | None = Field(
        default=None,
        gt=0,
        le=600,
        description="A turn of any class that takes longer is slow; left out, the objectives of each agent's classes.",
    )


class TrafficDrop(Rule):
    """An agent gets far fewer turns than at this hour of earlier days."""

    holds: Duration = Field(default="5m", alias="for")
    severity: Severity = "critical"
    below: Share = Field(default=0.3, description="Share of the usual turns; and half of the quietest day.")
    minimum_turns: int = Field(default=20, ge=5, description="Usual turns in the hour; with fewer nothing is said.")
    minimum_days: int = Field(default=7, ge=2, le=60, description="Days of history; a week has its own shape.")


class DependencyDown(Rule):
    """A breaker is open, or a part that processes need does not answer."""

    severity: Severity = "critical"


class BudgetSpent(Rule):
    """A budget is nearly used up."""

    holds: Duration = Field(default="0s", alias="for")
    share: float = Field(default=0.8, gt=0, le=2, description="The share of the budget that is spent.")


class BudgetForecast(Rule):
    """At this pace a budget will not last."""

    holds: Duration = Field(default="30m", alias="for")
    share: float = Field(default=1.0, gt=0, le=10, description="The share that the forecast comes to.")


class UnusualUser(Rule):
    """One principal does far more of something than others, and than they themselves do."""

    holds: Duration = Field(default="0s", alias="for")
    clears_after: Duration = "1h"
    turns: int = Field(default=60, ge=5, description="Turns in an hour; fewer are never unusual.")
    refusals: int = Field(default=5, ge=2, description="Refused turns in an hour.")
    tripped: int = Field(default=5, ge=2, description="Guardrail trips in an hour, such as of injection.")
    side_effects: int = Field(default=5, ge=2, description="Actions in an hour, such as refunds.")
    deviations: float = Field(default=5.0, ge=2, description="Robust deviations above the median of all others.")
    times_usual: float = Field(default=4.0, ge=1.5, description="Times their own usual hour.")
    minimum_principals: int = Field(default=20, ge=5, description="With fewer others they are no measure.")
    minimum_hours: int = Field(default=5, ge=2, description="With fewer hours of their own these are no measure.")


class ApprovalSla(Rule):
    """An approval waits too long."""

    holds: Duration = Field(default="0s", alias="for")
    waiting: Duration = Field(default="15m", description="How long the oldest may wait.")


class QualityDrop(Rule):
    """Users are less content than in the week before."""

    holds: Duration = Field(default="10m", alias="for")
    by: Share = Field(default=0.1, description="Percentage points that it got worse, as 0.1 for ten.")
    minimum: int = Field(default=20, ge=5, description="Voices in the day and in the week before.")


class JobFailed(Rule):
    """The newest run of a job failed."""

    holds: Duration = Field(default="0s", alias="for")


class Above(Rule):
    """A figure of the upkeep is too high."""

    above: float = Field(default=0.0, ge=0)


class AuditLag(Above):
    """Audit records wait to be sealed."""

    severity: Severity = "critical"
    above: float = Field(default=60.0, ge=0, description="Age in seconds of the oldest that waits.")


class TracesDropped(Above):
    """Traces are lost because they come faster than they are stored."""

    above: float = Field(default=0.0, ge=0, description="Traces lost in five minutes.")


class InsightLag(Above):
    """Figures are behind, so that alerts and dashboards see the past."""

    above: float = Field(default=300.0, ge=0, description="Seconds behind.")


class ChannelFailing(Rule):
    """A channel of alerts takes no messages; the others are told."""

    holds: Duration = Field(default="0s", alias="for")
    severity: Severity = "critical"
    failures: int = Field(default=2, ge=1, description="Attempts that failed.")


class Rules(_Strict):
    """The rules that there are; each can be turned off or set otherwise."""

    error_rate: ErrorRate = ErrorRate()
    availability_slo: AvailabilitySlo = AvailabilitySlo()
    latency_slo: LatencySlo = LatencySlo()
    traffic_drop: TrafficDrop = TrafficDrop()
    dependency_down: DependencyDown = DependencyDown()
    budget_spent: BudgetSpent = BudgetSpent()
    budget_forecast: BudgetForecast = BudgetForecast()
    unusual_user: UnusualUser = UnusualUser()
    approval_sla: ApprovalSla = ApprovalSla()
    quality_drop: QualityDrop = QualityDrop()
    job_failed: JobFailed = JobFailed()
    audit_lag: AuditLag = AuditLag()
    traces_dropped: TracesDropped = TracesDropped()
    insight_lag: InsightLag = InsightLag()
    channel_failing: ChannelFailing = ChannelFailing()

    def named(self, name: str) -> Rule | None:
        return getattr(self, name) if name in Rules.model_fields else None


RULES = tuple(Rules.model_fields)


class Match(_Strict):
    """Which alerts are meant: those to which all that is said applies; nothing said means all."""

    rules: list[Name] = Field(default_factory=list[str])
    severities: list[Severity] = Field(default_factory=list[Severity])
    tenants: list[Label] = Field(default_factory=list[str])
    labels: dict[Name, Label] = Field(default_factory=dict[str, str])

    @model_validator(mode="after")
    def _knows_its_rules(self) -> Self:
        if unknown := sorted(set(self.rules) - set(RULES)):
            raise ValueError(f"there is no rule {unknown[0]!r}; there are {', '.join(RULES)}")
        return self

    def applies(self, *, rule: str, severity: str, tenant_id: str, labels: dict[str, str]) -> bool:
        return (
            (not self.rules or rule in self.rules)
            and (not self.severities or severity in self.severities)
            and (not self.tenants or tenant_id in self.tenants)
            and all(labels.get(name) == value for name, value in self.labels.items())
        )


class Escalate(_Strict):
    """Who is told when nobody acknowledges."""

    after: Duration
    to: list[Name] = Field(min_length=1)


class Route(_Strict):
    """Which alerts go to which channels; the first route that matches decides."""

    match: Match = Match()
    to: list[Name] = Field(description="Channels; an empty list tells nobody.")
    escalate: Escalate | None = None

    @model_validator(mode="after")
    def _tells_somebody_first(self) -> Self:
        if self.escalate is not None and not self.to:
            raise ValueError("'to' is empty, so nobody can fail to acknowledge; name who is told before 'escalate'")
        return self


class Maintenance(_Strict):
    """A time in which nobody is told: once, or every week."""

    name: Name
    match: Match = Match()
    starts: AwareDatetime | None = Field(default=None, alias="from", description="With its zone.")
    until: AwareDatetime | None = None
    days: list[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]] = Field(default_factory=list)
    at: Annotated[str, StringConstraints(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")] | None = Field(
        default=None, description="UTC."
    )
    lasts: Duration | None = None

    @model_validator(mode="after")
    def _is_once_or_weekly(self) -> Self:
        once, weekly = (self.starts, self.until), (self.at, self.lasts)
        if (None in once) == (None in weekly) or (any(once) and any(weekly)) or (bool(self.days) and any(once)):
            raise ValueError("give 'from' and 'until', or 'days', 'at' and 'lasts'")
        if self.starts and self.until and self.until <= self.starts:
            raise ValueError("'until' is not after 'from'")
        if self.lasts is not None and seconds(self.lasts) > _UNITS["d"]:
            raise ValueError("'lasts' is at most 1d")
        return self

    def covers(self, at_seconds: float) -> bool:
        """Whether this time (seconds since 1970) is within it."""
        if self.starts and self.until:
            return self.starts.timestamp() <= at_seconds < self.until.timestamp()
        assert self.at is not None
        assert self.lasts is not None
        begins = int(self.at[:2]) * 3600 + int(self.at[3:]) * 60
        # The one that began yesterday may still last.
        for day in (int(at_seconds // 86_400), int(at_seconds // 86_400) - 1):
            # 1970 began on a Thursday.
            is_meant = not self.days or _DAYS[(day + 3) % 7] in self.days
            into = at_seconds - day * 86_400 - begins
            if is_meant and 0 <= into < seconds(self.lasts):
                return True
        return False


class AlertsFile(_Strict):
    """`alerts.yaml`; all of it may be left out."""

    rules: Rules = Rules()
    routes: list[Route] = Field(
        default_factory=list[Route], description="Without any, everything goes to every channel."
    )
    teams: dict[Name, list[Name]] = Field(
        default_factory=dict[str, list[str]], description="Channels of teams, for approvals and cases."
    )
    people: list[Name] | None = Field(
        default=None, description="Channels for approvals and cases without a team that has some; every channel."
    )
    digest: list[Name] | None = Field(default=None, description="Channels for the digest; every channel.")
    maintenance: list[Maintenance] = Field(default_factory=list[Maintenance])
    group_for: Duration = Field(default="1m", description="Further alerts of a rule wait so long to be told together.")
    repeat_after: Duration = Field(default="4h", description="What is not acknowledged is told again.")
