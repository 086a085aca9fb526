"""The rules as pure decisions: signals in, a word with its reason and numbers out."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from operator import itemgetter
from statistics import median

from handrail.core.ages import in_words
from handrail.core.share import wilson
from handrail.insight.alerts.objectives import differing, limits
from handrail.insight.alerts.schema import Above, Burn, Rules, seconds
from handrail.insight.alerts.signals import (
    DAY,
    FIVE_MINUTES,
    HALF_HOUR,
    HOUR,
    MEASURES,
    SIX_HOURS,
    AgentTraffic,
    Counted,
    Finding,
    Measure,
    PrincipalActivity,
    Quality,
    Signals,
    State,
)
from handrail.insight.alerts.statistics import robust_limit

# More at once tell no more, and each would be stored: of a rule and a tenant, and of a rule in all.
MOST_FINDINGS = 50
MOST_OF_ALL = 500
# However loose an objective is: when four of five turns are bad the budget burns too fast.
MOST_NEEDED = 0.8
_NEEDED = {"turns": "turns", "refusals": "refused turns", "tripped": "guardrail trips", "side_effects": "actions"}
_GAUGES = {
    "audit_lag": "the oldest audit record waits for {value:.0f} s to be sealed",
    "traces_dropped": "traces lost in five minutes: {value:.0f}",
    "insight_lag": "figures are {value:.0f} s behind what happens",
}
_QUALITY = {
    "thumbs_down": "thumbs down",
    "csat": "dissatisfaction (CSAT)",
    "verdicts": "bad verdicts of reviewers",
    "unsupported_claims": "unsupported claims",
}


def judge(rules: Rules, signals: Signals) -> list[Finding]:
    """What every rule that is on says, the worst first within a rule, so many bad ones of each tenant at most."""
    found: list[Finding] = []
    for name, decide in DECISIONS.items():
        rule = rules.named(name)
        assert rule is not None
        if not rule.enabled or name in signals.missing:
            continue
        all_of_it = list(decide(rules, signals))
        bad = _bounded([each for each in all_of_it if each.state == "bad"])
        found += bad + [each for each in all_of_it if each.state != "bad"]
    return found


def _bounded(bad: Sequence[Finding]) -> list[Finding]:
    """Where there are too many, the first of every tenant come before the second of any: none hides another's."""
    seen = Counter[str]()
    ranked: list[tuple[int, Finding]] = []
    for each in bad:
        if seen[each.tenant_id] < MOST_FINDINGS:
            ranked.append((seen[each.tenant_id], each))
        seen[each.tenant_id] += 1
    if len(ranked) > MOST_OF_ALL:
        ranked.sort(key=itemgetter(0))
    return [each for _, each in ranked[:MOST_OF_ALL]]


def _error_rate(rules: Rules, signals: Signals) -> Iterator[Finding]:
    rule = rules.error_rate
    for each in signals.agents:
        now, day = each.of(FIVE_MINUTES), each.of(DAY)
        share, usual = _share(now.failed, now.turns), _share(day.failed - now.failed, day.turns - now.turns)
        numbers = {"turns": now.turns, "failed": now.failed, "share": share, "usual": usual}
        state: State = "fine"
        if now.turns < rule.minimum_turns:
            state, said = "quiet", f"{now.turns} turns in 5 minutes, {rule.minimum_turns} are needed to judge"
        else:
            is_worse = wilson(share, now.turns)[0] > rule.above and share > rule.times_usual * usual
            state = "bad" if is_worse else "fine"
            said = f"{now.failed} of {now.turns} turns failed in 5 minutes ({share:.0%}; usual {usual:.1%})"
        yield Finding("error_rate", each.tenant_id, {"agent": each.agent}, state, said, numbers)


def _availability(rules: Rules, signals: Signals) -> Iterator[Finding]:
    rule = rules.availability_slo
    for each in signals.agents:
        counted = {window: Counted(found.turns, found.failed) for window, found in each.windows.items()}
        burn = _Burning("availability_slo", rule, rule.objective or each.objective.availability, "failed")
        yield _told(rules, each, burn.finding(each, {"agent": each.agent}, counted))


def _latency(rules: Rules, signals: Signals) -> Iterator[Finding]:
    rule = rules.latency_slo
    for each in signals.agents:
        timed = each.of(SIX_HOURS).timed
        for name, limit in limits(rule, each.objective).items():
            # What nobody asks for needs no word, unless there is no other.
            if name not in timed and timed:
                continue
            counted = {window: found.timed.get(name, Counted()) for window, found in each.windows.items()}
            said = f"of class {name} took over {limit:g} s"
            burn = _Burning("latency_slo", rule, rule.objective or each.objective.latency_share, said)
            labels = {"agent": each.agent, "latency_class": name}
            found = burn.finding(each, labels, counted)
            yield _told(rules, each, replace(found, numbers={**found.numbers, "limit_seconds": limit}))


def _told(rules: Rules, each: AgentTraffic, found: Finding) -> Finding:
    """With a word where the rules hold the agent to another objective than its own."""
    others = differing(rules, each.objective).get(found.rule, ())
    return replace(found, said="; ".join((found.said, *others)))


@dataclass(frozen=True, slots=True)
class _Burning:
    """One error budget; `what` a bad turn did."""

    name: str
    rule: Burn
    objective: float
    what: str

    def finding(self, each: AgentTraffic, labels: Mapping[str, str], counted: Mapping[int, Counted]) -> Finding:
        """The faster pair of windows that burns, else the slower one."""
        enough, least, budget = False, self.rule.minimum_turns, 1 - self.objective
        for factor, long, short, hours in (
            (self.rule.fast, HOUR, FIVE_MINUTES, "1 h"),
            (self.rule.slow, SIX_HOURS, HALF_HOUR, "6 h"),
        ):
            wide, near = counted.get(long, Counted()), counted.get(short, Counted())
            if wide.turns < least or near.turns < least / 10:
                continue
            enough, needed = True, min(factor * budget, MOST_NEEDED)
            if min(_share(window.bad, window.turns) for window in (wide, near)) >= needed:
                return Finding(self.name, each.tenant_id, labels, "bad", *self._burns(wide, near, hours))
        if not enough:
            turns = counted.get(SIX_HOURS, Counted()).turns
            said = f"{turns} turns in 6 h, {least} are needed to judge"
            return Finding(self.name, each.tenant_id, labels, "quiet", said, {"turns": turns})
        hour = counted.get(HOUR, Counted())
        rate = _share(hour.bad, hour.turns) / budget
        said = f"the error budget of a {self.objective * 100:g}% objective burns {rate:.1f} times as fast as it may"
        return Finding(self.name, each.tenant_id, labels, "fine", f"{said} over 1 h", {"burn_rate": rate})

    def _burns(self, wide: Counted, near: Counted, hours: str) -> tuple[str, dict[str, float]]:
        rate, now = (_share(window.bad, window.turns) / (1 - self.objective) for window in (wide, near))
        said = (
            f"{wide.bad} of {wide.turns} turns {self.what} in {hours}: the error budget of a {self.objective * 100:g}%"
            f" objective burns {rate:.1f} times as fast as it may, and {now:.1f} times just now"
        )
        return said, {"burn_rate": rate, "burn_rate_now": now, "bad": wide.bad, "turns": wide.turns}


def _traffic_drop(rules: Rules, signals: Signals) -> Iterator[Finding]:
    rule = rules.traffic_drop
    for each in signals.agents:
        now, days = each.of(HOUR).turns, each.same_hour
        usual = median(days) if days else 0.0
        numbers = {"turns": now, "usual": usual, "days": len(days)}
        state: State = "fine"
        said = f"{now} turns in an hour, usually {usual:.0f} at this time"
        if len(days) < rule.minimum_days:
            state, said = "quiet", f"not enough history: {len(days)} of {rule.minimum_days} days"
        elif usual < rule.minimum_turns:
            state, said = "quiet", f"usually {usual:.0f} turns at this time, {rule.minimum_turns} are needed to judge"
        elif now < rule.below * usual and now < min(days) / 2:
            state = "bad"
        yield Finding("traffic_drop", each.tenant_id, {"agent": each.agent}, state, said, numbers)


def _dependency_down(_: Rules, signals: Signals) -> Iterator[Finding]:
    for each in signals.dependencies:
        labels = {"kind": each.kind, "name": each.name}
        yield Finding("dependency_down", each.tenant_id, labels, "bad", f"{each.kind} {each.name}: {each.said}")


def _budget_spent(rules: Rules, signals: Signals) -> Iterator[Finding]:
    for each in signals.budgets:
        share = each.spent_micros / each.limit_micros if each.limit_micros else 1.0
        said = f"{_money(each.spent_micros)} of {_money(each.limit_micros)} is spent ({share:.0%})"
        state: State = "bad" if share >= rules.budget_spent.share else "fine"
        yield Finding("budget_spent", each.tenant_id, {"budget": each.name}, state, said, {"share": share})


def _budget_forecast(rules: Rules, signals: Signals) -> Iterator[Finding]:
    for each in signals.budgets:
        labels = {"budget": each.name}
        if each.forecast_micros is None:
            yield Finding("budget_forecast", each.tenant_id, labels, "quiet", "too little is spent yet to forecast")
            continue
        share = each.forecast_micros / each.limit_micros if each.limit_micros else 1.0
        said = f"at this pace {_money(each.forecast_micros)} of {_money(each.limit_micros)} will be spent ({share:.0%})"
        state: State = "bad" if share > rules.budget_forecast.share else "fine"
        yield Finding("budget_forecast", each.tenant_id, labels, state, said, {"share": share})


def _unusual_user(rules: Rules, signals: Signals) -> Iterator[Finding]:
    by_tenant = sorted(signals.principals, key=lambda each: each.tenant_id)
    for tenant_id, group in groupby(by_tenant, key=lambda each: each.tenant_id):
        principals = list(group)
        bad = [found for measure in MEASURES for found in _unusual(rules, principals, measure)]
        yield from sorted(bad, key=lambda each: -each.numbers["times"])
        if not bad:
            state: State = "fine" if len(principals) > rules.unusual_user.minimum_principals else "quiet"
            yield Finding(
                "unusual_user", tenant_id, {}, state, f"{len(principals)} principals in an hour, none stands out"
            )


def _unusual(rules: Rules, principals: Sequence[PrincipalActivity], measure: Measure) -> Iterator[Finding]:
    """Those beyond the absolute least, beyond the others, and beyond themselves, as far as these can be a measure."""
    rule = rules.unusual_user
    least: int = getattr(rule, measure)
    suspects = [each for each in principals if each.hour.get(measure, 0) >= least]
    if not suspects:
        return
    others = len(principals) - 1
    limit = robust_limit([each.hour.get(measure, 0) for each in principals], rule.deviations)
    for each in suspects:
        count, own = each.hour.get(measure, 0), each.usual.get(measure, 0.0)
        by_others = None if others < rule.minimum_principals else count > limit
        by_self = None if each.usual_hours < rule.minimum_hours else count > rule.times_usual * own
        if False in (by_others, by_self) or (by_others is None and by_self is None):
            continue
        usual = own if by_self else limit
        known = f", usually {own:.1f}" if by_self is not None else ", without a history of their own"
        beside = f"; of {others} others hardly anybody has over {limit:.0f}" if by_others is not None else ""
        said = f"{count} {_NEEDED[measure]} in an hour{known}{beside}"
        numbers = {"count": count, "usual": own, "limit": limit, "times": count / max(usual, 1.0)}
        labels = {"principal": each.principal, "measure": measure}
        yield Finding("unusual_user", each.tenant_id, labels, "bad", said, numbers)


def _approval_sla(rules: Rules, signals: Signals) -> Iterator[Finding]:
    limit = seconds(rules.approval_sla.waiting)
    for each in signals.approvals:
        waiting = "1 approval waits" if each.waiting == 1 else f"{each.waiting} approvals wait"
        said = f"{waiting}, the oldest for {in_words(each.oldest_seconds)}"
        state: State = "bad" if each.oldest_seconds > limit else "fine"
        numbers = {"waiting": each.waiting, "oldest_seconds": each.oldest_seconds}
        yield Finding("approval_sla", each.tenant_id, {"agent": each.agent}, state, said, numbers)


def _quality_drop(rules: Rules, signals: Signals) -> Iterator[Finding]:
    for each in signals.quality:
        labels = {"agent": each.agent, "measure": each.measure}
        state, said = _worse(each, rules.quality_drop.minimum, rules.quality_drop.by)
        numbers = {
            "share": _share(each.bad, each.count),
            "usual": _share(each.usual_bad, each.usual_count),
            "count": each.count,
        }
        yield Finding("quality_drop", each.tenant_id, labels, state, said, numbers)


def _worse(each: Quality, minimum: int, by: float) -> tuple[State, str]:
    if each.count < minimum or each.usual_count < minimum:
        return "quiet", f"{each.count} voices in a day and {each.usual_count} in the week before, {minimum} are needed"
    share, usual = _share(each.bad, each.count), _share(each.usual_bad, each.usual_count)
    is_certain = wilson(share, each.count)[0] > wilson(usual, each.usual_count)[1]
    what = _QUALITY.get(each.measure, each.measure)
    said = f"{what}: {share:.0%} of {each.count} in a day, {usual:.0%} of {each.usual_count} in the week before"
    return ("bad" if is_certain and share - usual >= by else "fine"), said


def _job_failed(_: Rules, signals: Signals) -> Iterator[Finding]:
    for each in signals.jobs:
        said = f"the newest run of job {each.job!r} failed: {each.code} ({each.run_id})"
        yield Finding("job_failed", each.tenant_id, {"job": each.job}, "bad", said)


def _gauge(name: str) -> Callable[[Rules, Signals], Iterator[Finding]]:
    def decide(rules: Rules, signals: Signals) -> Iterator[Finding]:
        rule = rules.named(name)
        assert isinstance(rule, Above)
        for each in (*signals.gauges, *signals.upkeep):
            if each.name == name:
                state: State = "bad" if each.value > rule.above else "fine"
                said = _GAUGES[name].format(value=each.value)
                yield Finding(name, each.tenant_id, {}, state, said, {"value": each.value})

    return decide


def _channel_failing(rules: Rules, signals: Signals) -> Iterator[Finding]:
    for each in signals.channels:
        state: State = "bad" if each.failures >= rules.channel_failing.failures else "fine"
        attempts = "1 attempt" if each.failures == 1 else f"{each.failures} attempts"
        said = (
            f"{attempts} to deliver failed, the oldest message waits for {in_words(each.oldest_seconds)}: {each.error}"
        )
        yield Finding("channel_failing", "*", {"channel": each.channel}, state, said, {"failures": each.failures})


def _share(bad: float, count: int) -> float:
    return bad / count if count > 0 else 0.0


def _money(micros: int) -> str:
    return f"{micros / 1_000_000:,.2f} USD"


DECISIONS: Mapping[str, Callable[[Rules, Signals], Iterator[Finding]]] = {
    "error_rate": _error_rate,
    "availability_slo": _availability,
    "latency_slo": _latency,
    "traffic_drop": _traffic_drop,
    "dependency_down": _dependency_down,
    "budget_spent": _budget_spent,
    "budget_forecast": _budget_forecast,
    "unusual_user": _unusual_user,
    "approval_sla": _approval_sla,
    "quality_drop": _quality_drop,
    "job_failed": _job_failed,
    "audit_lag": _gauge("audit_lag"),
    "traces_dropped": _gauge("traces_dropped"),
    "insight_lag": _gauge("insight_lag"),
    "channel_failing": _channel_failing,
}
