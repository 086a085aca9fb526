"""What one look at the rules of alerts sees, source by source; one that can't be read leaves its rules as they were."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any

from handrail.core.errors import HandrailError
from handrail.flows.objectives import stated
from handrail.flows.services import Services
from handrail.flows.spending import BUDGET_SECONDS, statuses
from handrail.insight.alerts import (
    AgentTraffic,
    Budget,
    ChannelHealth,
    Dependency,
    Gauge,
    PrincipalActivity,
    Signals,
    limits,
)
from handrail.insight.alerts.signals import MEASURES, Measure
from handrail.insight.costs import BudgetStatus
from handrail.reports import signals as read
from handrail.telemetry.logging import logger

# History changes by the hour; a look is every few seconds.
HISTORY_SECONDS = 300
# A report counts for so many looks: a process that is gone tells nothing of what is down.
LOOKS_A_REPORT = 4

Part = Callable[[Services, int], Awaitable[dict[str, Any]]]


async def signals_of(services: Services, at: int) -> Signals:
    """All that can be read now."""
    found, missing = Signals(), set[str]()
    for part, rules in SOURCES:
        try:
            found = replace(found, **await part(services, at))
        except HandrailError as error:
            missing.update(rules)
            logger().warning("a source of alerts can't be read", rules=rules, code=error.code, error=error.message)
    return replace(found, missing=frozenset(missing))


async def _traffic(services: Services, at: int) -> dict[str, Any]:
    alerts = services.alerts
    # A clock that was put back must not leave them old until it is as late again.
    if abs(at - alerts.history_at) >= HISTORY_SECONDS * 1_000_000:
        alerts.history, alerts.history_at = await read.same_hours(services.db, at), at
    rule, own = alerts.config.file.rules.latency_slo, await stated(services)
    seen = await read.traffic(services.db, at, limits={key: limits(rule, each) for key, each in own.items()})
    return {
        "agents": [AgentTraffic(*key, own[key], windows, alerts.history.get(key, ())) for key, windows in seen.items()]
    }


async def _principals(services: Services, at: int) -> dict[str, Any]:
    """By pseudonym: nobody is named in an alert."""
    rule = services.alerts.config.file.rules.unusual_user
    if not rule.enabled:
        return {}
    least: dict[Measure, int] = {measure: int(getattr(rule, measure)) for measure in MEASURES}
    found: list[PrincipalActivity] = []
    for tenant_id in sorted(await read.tenants(services.db)):
        hidden = partial(services.audit.pseudonyms.of, tenant_id)
        there = await read.principals(services.db, at, tenant_id, least)
        found += [replace(each, principal=hidden(subject)) for subject, each in there]
    return {"principals": found}


async def _quality(services: Services, at: int) -> dict[str, Any]:
    return {"quality": await read.quality(services.db, at)}


async def _approvals(services: Services, at: int) -> dict[str, Any]:
    return {"approvals": await read.approvals(services.db, at)}


async def _jobs(services: Services, at: int) -> dict[str, Any]:
    return {"jobs": await read.failed_jobs(services.db, at)}


async def _budgets(services: Services, at: int) -> dict[str, Any]:
    alerts = services.alerts
    if abs(at - alerts.budgets_at) >= BUDGET_SECONDS * 1_000_000:
        alerts.budgets = [_budget_of(each) for each in await statuses(services)]
        alerts.budgets_at = at
    return {"budgets": alerts.budgets}


def _budget_of(each: BudgetStatus) -> Budget:
    forecast = None if each.forecast is None else each.forecast.expected_micros
    return Budget(each.budget.tenant, each.budget.name, each.spent_micros, each.budget.micros, forecast)


async def _processes(services: Services, _at: int) -> dict[str, Any]:
    """What is down in any process counts once; what was lost in each is added up."""
    within = LOOKS_A_REPORT * services.alerts.every_seconds
    down: dict[tuple[str, str], str] = {}
    lost = 0.0
    for report in await services.alerts.store.reports(within_seconds=within):
        for kind, name, said in report.get("down", []):
            down.setdefault((kind, name), said)
        lost += report.get("traces_dropped", 0)
    dependencies = [Dependency("*", kind, name, said) for (kind, name), said in sorted(down.items())]
    return {"dependencies": dependencies, "gauges": [Gauge("traces_dropped", lost)]}


async def _upkeep(services: Services, at: int) -> dict[str, Any]:
    _, oldest = await services.audit.store.waiting()
    behind = 0.0 if oldest is None else max(0.0, (at - oldest) / 1_000_000)
    uncounted = await read.uncounted_seconds(services.db, at)
    return {"upkeep": [Gauge("audit_lag", behind), Gauge("insight_lag", uncounted)]}


async def _channels(services: Services, at: int) -> dict[str, Any]:
    by_channel: dict[str, ChannelHealth] = {}
    for each in await services.alerts.store.failing():
        channel = each.notice.channel
        if channel not in services.alerts.sender.channels:
            continue
        age = (at - each.notice.created_at) / 1_000_000
        known = by_channel.get(channel, ChannelHealth(channel, 0, 0.0, ""))
        by_channel[channel] = ChannelHealth(
            channel, known.failures + each.attempts, max(known.oldest_seconds, age), each.error or known.error
        )
    return {"channels": list(by_channel.values())}


SOURCES: tuple[tuple[Part, tuple[str, ...]], ...] = (
    (_traffic, ("error_rate", "availability_slo", "latency_slo", "traffic_drop")),
    (_principals, ("unusual_user",)),
    (_quality, ("quality_drop",)),
    (_approvals, ("approval_sla",)),
    (_jobs, ("job_failed",)),
    (_budgets, ("budget_spent", "budget_forecast")),
    (_processes, ("dependency_down", "traces_dropped")),
    (_upkeep, ("audit_lag", "insight_lag")),
    (_channels, ("channel_failing",)),
)
