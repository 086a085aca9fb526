"""The scorecard: what the agent's measures are now, beside the period before, the baseline and the targets.

A comparison of times is not a proof of cause: users, seasons and prices change as well, and every report says so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from handrail.core.clock import Clock
from handrail.core.errors import NotFound, UsageError
from handrail.core.ids import new_id
from handrail.core.latency import LATENCY_CLASSES
from handrail.core.money import USD, in_usd
from handrail.core.principal import Principal
from handrail.core.times import InvalidPeriod, require_order
from handrail.db import Database
from handrail.flows.audit import baseline_recorded
from handrail.flows.known import require_known
from handrail.flows.objectives import Objectives, objectives_of
from handrail.flows.releases import LoadedRelease, Releases
from handrail.flows.services import Services
from handrail.insight.alerts import Rules
from handrail.insight.feedback import FeedbackRules
from handrail.insight.scorecard import (
    MEASURES,
    NOTHING,
    PERCENTILES,
    Baseline,
    BaselineStore,
    Estimate,
    Line,
    given,
    latency_key,
    mean,
    percentile_of,
    share,
)
from handrail.protection.audit import AuditTrail
from handrail.reports.filters import Filters
from handrail.reports.reviews import reviewed
from handrail.reports.scorecard import Counted, counted
from handrail.reports.series import Reason, Turns, reasons, summary
from handrail.serving.agents.success import Success

DAY = 24 * 3600 * 1_000_000
MOST_DAYS = 366


class NothingMeasured(UsageError):
    """There is nothing to keep as a baseline."""

    code = "nothing_measured"


@dataclass(frozen=True, slots=True)
class Errors:
    """Why turns failed in the period, the most frequent first, and the same of the period before; of so many turns."""

    turns: int
    now: Sequence[Reason]
    before: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Scorecard:
    """A report on one agent; money is in `currency`.

    Attributes:
        not_comparable: sums of money that are left out because nobody says what one currency is in the other.
    """

    agent: str
    release_id: str
    period: Filters
    now: Counted
    before: Counted
    lines: Sequence[Line]
    baseline: Baseline | None
    success: Success
    currency: str
    objectives: Objectives
    errors: Errors
    not_comparable: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class ScorecardDesk:
    """Scorecards and baselines as one principal may see and make them; `values` says what value events are in.

    Attributes:
        alert_rules: said is where they hold an agent to something else than its own objectives.
    """

    db: Database
    clock: Clock
    releases: Releases
    audit: AuditTrail
    principal: Principal
    values: FeedbackRules = field(default_factory=FeedbackRules)
    alert_rules: Rules | None = None

    async def report(
        self,
        agent: str | None = None,
        *,
        since: int | None = None,
        until: int | None = None,
        release_id: str | None = None,
        intent: str | None = None,
        channel: str | None = None,
        baseline: int | None = None,
    ) -> Scorecard:
        """The scorecard of a period, the last seven days when nothing is said; against the newest baseline or that one.

        Raises:
            NotFound: no such agent, release, intent or channel, or no baseline with that number.
            InvalidPeriod
        """
        tenant_id = self.principal.tenant_id
        name, stable = await self._agent(agent)
        success = stable.config.success
        period = _period(tenant_id, self.clock.micros(), since, until, name, release_id, intent, channel)
        human_cost = _human_cost(success)
        now, before = await counted(self.db, period, human_cost), await counted(self.db, period.before, human_cost)
        if not now.closed + now.pending:
            await require_known(self.db, self.releases, tenant_id, period.narrowed)
        against = await self._baseline(name, baseline)
        turns, turns_before = [(await summary(self.db, each)).turns for each in (period, period.before)]
        estimates = {**self._estimates(now, stable), **latencies(turns), **await reviewed(self.db, period)}
        earlier = {
            **self._estimates(before, stable),
            **latencies(turns_before),
            **await reviewed(self.db, period.before),
        }
        currency = shown_in(success)
        kept: Mapping[str, Estimate] = {} if against is None else against.measures_in(currency)
        lines = [
            Line(measure, estimates[key], earlier[key], kept.get(key), target_of(success, key))
            for key, measure in MEASURES.items()
        ]
        objectives = await objectives_of(
            self.db, period, success.objective, now=self.clock.micros(), rules=self.alert_rules
        )
        errors = await self._errors(period, turns.turns)
        has_values = bool(now.sums["value_per_conversation"].xx)
        left_out = not_comparable(success, self.values, has_values=has_values, against=against)
        return Scorecard(
            name, stable.id, period, now, before, lines, against, success, currency, objectives, errors, left_out
        )

    async def baselines(self, agent: str | None = None) -> Sequence[Baseline]:
        """All of an agent's, newest first."""
        name, _ = await self._agent(agent)
        return await BaselineStore(self.db).list(self.principal.tenant_id, name)

    async def record_baseline(
        self,
        agent: str | None = None,
        *,
        measures: Mapping[str, Mapping[str, float]] | None = None,
        since: int | None = None,
        until: int | None = None,
        note: str | None = None,
    ) -> Baseline:
        """Keep what the measures are as a new baseline: as measured in a period, or as given for the time before.

        Raises:
            NotFound, InvalidBaseline, InvalidPeriod
            NothingMeasured: no conversation of that period has closed.
        """
        name, stable = await self._agent(agent)
        at, by, currency = self.clock.micros(), self.principal.subject, shown_in(stable.config.success)
        if measures is not None:
            kept = Baseline(
                new_id("base"),
                self.principal.tenant_id,
                name,
                "given",
                note,
                since,
                until,
                None,
                given(measures),
                by,
                at,
                currency,
            )
        else:
            report = await self.report(name, since=since, until=until)
            known = {line.measure.key: line.now for line in report.lines if line.now.value is not None}
            if not known:
                raise NothingMeasured(
                    f"nothing was measured of {name!r} in that time: no conversation has closed; "
                    "choose another period, or give the numbers of the time before"
                )
            period = report.period
            kept = Baseline(
                new_id("base"), self.principal.tenant_id, name, "measured", note, period.since, period.until, stable.id,
                known, by, at, currency,
            )  # fmt: skip
        async with self.db.batch() as batch:
            BaselineStore(self.db).add(batch, kept)
            self.audit.record(batch, baseline_recorded(self.principal, kept.id, name))
        found = await BaselineStore(self.db).list(self.principal.tenant_id, name)
        return next((each for each in found if each.id == kept.id), kept)

    async def _agent(self, agent: str | None) -> tuple[str, LoadedRelease]:
        """The agent's name and its stable release, which says what success is."""
        agents = await self.releases.agents(self.principal.tenant_id)
        found = next((each for each in agents if agent is None or each.name == agent), None)
        if found is None or found.stable_release_id is None:
            if not agents:
                raise NotFound("no agent has a release yet; `handrail serve --project FOLDER` makes the first")
            known = ", ".join(each.name for each in agents)
            raise NotFound(f"no agent {'' if agent is None else f'{agent!r} '}has a release in use; agents: {known}")
        return found.name, await self.releases.load(self.principal.tenant_id, found.stable_release_id)

    async def _errors(self, period: Filters, turns: int) -> Errors:
        now, before = [(await reasons(self.db, each))["error"] for each in (period, period.before)]
        return Errors(turns, now, {each.reason: each.count for each in before})

    def _estimates(self, counted: Counted, release: LoadedRelease) -> Mapping[str, Estimate]:
        found = estimates_of(counted, release.config.success, self.values)
        checks_claims = release.policies.guardrails.output.grounding != "allow"
        return found if checks_claims else {**found, "unsupported_claim_rate": NOTHING}

    async def _baseline(self, agent: str, version: int | None) -> Baseline | None:
        found = await BaselineStore(self.db).list(self.principal.tenant_id, agent)
        if version is None:
            return found[0] if found else None
        known = next((each for each in found if each.version == version), None)
        if known is None:
            have = ", ".join(str(each.version) for each in found) or "none"
            raise NotFound(f"{agent!r} has no baseline {version}; there are: {have}")
        return known


def scorecards(services: Services, principal: Principal) -> ScorecardDesk:
    """A desk for one principal; values are in the currency that feedback takes."""
    return ScorecardDesk(
        services.db,
        services.clock,
        services.releases,
        services.audit,
        principal,
        services.feedback_rules,
        services.alerts.config.file.rules,
    )


def estimates_of(counted: Counted, success: Success, values: FeedbackRules) -> Mapping[str, Estimate]:
    """All measures but those of reviews; those that nobody measures yet are `NOTHING`, and none is ever made up."""
    found: dict[str, Estimate] = {}
    for key, measure in MEASURES.items():
        sums = counted.sums.get(key)
        if sums is None:
            found[key] = NOTHING
        elif measure.kind == "share":
            found[key] = share(sums)
        else:
            rate = success.in_usd or 1.0 if measure.kind == "money" else 1.0
            found[key] = mean(sums.times(1 / rate))
    if success.human_cost is None or success.human_cost.minutes is None:
        found["minutes_saved"] = NOTHING
    else:
        found["minutes_saved"] = mean(counted.sums["autonomous_resolution"].times(success.human_cost.minutes))
    if success.human_cost is None:
        found["saving_per_conversation"] = NOTHING
    # Every call without a price would make these too low, and a cost that is too low is worse than none.
    if counted.unpriced_calls:
        for key in ("cost_per_conversation", "cost_per_resolved", "saving_per_conversation"):
            found[key] = replace(found[key], low=None, high=None) if found[key].value else NOTHING
    rate = _rate(success, values)
    sums = counted.sums["value_per_conversation"]
    found["value_per_conversation"] = mean(sums.times(rate)) if sums.xx and rate is not None else NOTHING
    return found


def latencies(turns: Turns) -> Mapping[str, Estimate]:
    """The percentiles of each class."""
    return {
        latency_key(name, part): percentile_of(turns.latencies.get(name, {}), part)
        for name in LATENCY_CLASSES
        for part in PERCENTILES
    }


def shown_in(success: Success) -> str:
    """The currency of a report: the agent's, once it says what that is in US dollars, in which models are priced."""
    return success.currency if success.in_usd else USD


def target_of(success: Success, key: str) -> float | None:
    """The target of a measure; none of money that can't be compared with what is measured."""
    is_money = MEASURES[key].kind == "money"
    return None if is_money and success.currency != shown_in(success) else success.target(key)


def not_comparable(
    success: Success, values: FeedbackRules, *, has_values: bool, against: Baseline | None = None
) -> Sequence[str]:
    """What a report leaves out, why, and what to do about it."""
    found: list[str] = []
    own, shown = success.currency, shown_in(success)
    if own != shown and any(MEASURES[key].kind == "money" for key in success.targets):
        found.append(
            f"money targets are in {own}, costs in {shown}: not comparable; say in agent.yaml what one {own} is in US "
            "dollars, as success.usd"
        )
    if has_values and _rate(success, values) is None:
        found.append(
            f"values are in {values.currency}, this report in {shown}: not comparable; set HANDRAIL_FEEDBACK__USD to "
            f"what one {values.currency} is in US dollars"
        )
    if against is not None and against.currency not in (None, shown):
        found.append(
            f"baseline {against.version} is in {against.currency}, this report in {shown}: its money is not compared; "
            "keep a new one"
        )
    return found


def _rate(success: Success, values: FeedbackRules) -> float | None:
    """What one unit of a value is in the currency of the report; None when nobody says so."""
    if values.currency == shown_in(success):
        return 1.0
    usd = in_usd(values.currency, values.usd)
    return None if usd is None else usd / (success.in_usd or 1.0)


def _human_cost(success: Success) -> float:
    return 0.0 if success.human_cost is None else success.human_cost.amount * (success.in_usd or 1.0)


def _period(
    tenant_id: str,
    now: int,
    since: int | None,
    until: int | None,
    agent: str,
    release_id: str | None,
    intent: str | None,
    channel: str | None,
) -> Filters:
    end = until if until is not None else now
    start = since if since is not None else end - 7 * DAY
    require_order(start, end)
    if end - start > MOST_DAYS * DAY:
        raise InvalidPeriod(f"the period is longer than {MOST_DAYS} days; ask for less", param="since")
    return Filters(tenant_id, start, end, agent, release_id, intent, channel)
