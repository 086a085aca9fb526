"""What calls of models cost: which prices hold, what was used, and how the budgets stand.

Budgets are watched: their share and their forecast are shown and counted, and nothing is stopped.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from handrail.core.clock import as_datetime, iso
from handrail.core.errors import UsageError
from handrail.core.money import USD
from handrail.core.principal import Principal, Role
from handrail.core.times import DAY_MICROS, InvalidPeriod, day_of
from handrail.core.usage import Usage
from handrail.flows.keepers import every
from handrail.flows.loaded_release import LoadedRelease
from handrail.flows.services import Services
from handrail.insight.costs import GROUPS, BudgetStatus, PricedModel, UnpricedLine, UsageLine, grouped, status_of
from handrail.insight.costs.budgets import MOST_DAYS
from handrail.protection.auth import LOCAL_OPERATOR, PermissionDenied, require_role
from handrail.reports.spending import spent_per_day

READERS = (Role.OPERATOR, Role.ADMIN)
PRICE_SECONDS = 5.0
BUDGET_SECONDS = 60.0
# A scan of the ledger; longer times are read from the scorecard's sums.
LONGEST_DAYS = 92
USUAL_DAYS = 30
USUALLY = "day,agent,model"


@dataclass(frozen=True, slots=True)
class UsageWanted:
    """Which days (UTC), `until` the last of them included, and by what they are told apart."""

    since: date
    until: date
    by: Sequence[str]
    tenant: str | None = None


async def learn_prices(services: Services, release: LoadedRelease) -> None:
    """Know what the models of a release cost before its first turn; what nobody knows stays unknown, and is said."""
    await services.prices.learn(
        PricedModel(tier.url, tier.client.provider, tier.client.model, tier.price) for tier in release.models.tiers()
    )


def wanted_of(given: Mapping[str, str], now: int) -> UsageWanted:
    """As the query and the command say it: `since`, `until`, `by` and `tenant`, each or none.

    Raises:
        UsageError: a day that is none.
        InvalidPeriod: it begins after its end.
    """
    today = as_datetime(now).date()
    until = day_of("until", given["until"]) if "until" in given else today
    since = day_of("since", given["since"]) if "since" in given else until - timedelta(days=USUAL_DAYS - 1)
    if since > until:
        end = f"until {until}" if "until" in given else f"today ({until}, UTC)"
        raise InvalidPeriod(f"since {since} is after {end}: there is no day between them", param="since")
    return UsageWanted(
        since, until, [each for each in given.get("by", USUALLY).split(",") if each], given.get("tenant")
    )


async def usage_of(services: Services, principal: Principal, wanted: UsageWanted) -> dict[str, Any]:
    """The ledger of some days, summed.

    Raises:
        PermissionDenied: not an operator or admin, or of another tenant.
        InvalidPeriod: too many days.
        UsageError: grouped by what there is not.
    """
    tenant_id = _tenant(principal, wanted.tenant)
    days = (wanted.until - wanted.since).days + 1
    if not 1 <= days <= LONGEST_DAYS:
        raise InvalidPeriod(
            f"{wanted.since} to {wanted.until} are {days} days; ask for 1 to {LONGEST_DAYS} at once", param="since"
        )
    if unknown := [each for each in wanted.by if each not in GROUPS]:
        raise UsageError(f"usage is grouped by {', '.join(GROUPS)}, not by {unknown[0]!r}", param="by")
    since, until = _micros(wanted.since), _micros(wanted.until + timedelta(days=1))
    lines = await services.usage.lines(tenant_id, since=since, until=until)
    return {
        "object": "usage",
        "currency": USD,
        "since": wanted.since.isoformat(),
        "until": wanted.until.isoformat(),
        "data": [_body(each) for each in grouped(lines, wanted.by)],
        "total": _body(next(iter(grouped(lines, ())), UsageLine())),
        "unpriced_models": services.prices.unknown,
        "unpriced": [
            _unpriced(each) for each in await services.usage.unpriced_lines(tenant_id, since=since, until=until)
        ],
    }


async def budgets_of(services: Services, principal: Principal, tenant: str | None = None) -> list[BudgetStatus]:
    """How the budgets of a tenant stand now.

    Raises:
        PermissionDenied: not an operator or admin, or of another tenant.
    """
    tenant_id = _tenant(principal, tenant)
    return await statuses(services, tenant_id)


def keep(services: Services) -> list["asyncio.Task[None]"]:
    """Look up prices that turned out to be needed, and keep the gauges of budgets; cancel the tasks to stop."""
    loop = asyncio.get_running_loop()
    keepers = [loop.create_task(every(PRICE_SECONDS, services.prices.refresh, "prices"))]
    if services.budgets:
        keepers.append(loop.create_task(every(BUDGET_SECONDS, lambda: show_budgets(services), "budgets")))
    return keepers


async def show_budgets(services: Services) -> None:
    """What Prometheus and alerts read of budgets."""
    for each in await statuses(services):
        forecast = each.forecast.expected_micros / each.budget.micros if each.forecast else None
        services.metrics.insight.budget(each.budget.name, each.used, forecast)


async def statuses(services: Services, tenant_id: str | None = None) -> list[BudgetStatus]:
    """How the budgets stand now, of all tenants or of one."""
    now = as_datetime(services.clock.micros())
    midnight = datetime.combine(now.date(), time(), UTC)
    share = (now - midnight) / timedelta(days=1)
    since = now.date() - timedelta(days=max(MOST_DAYS, 31))
    found: list[BudgetStatus] = []
    for budget in services.budgets:
        if tenant_id not in (None, budget.tenant):
            continue
        days = await spent_per_day(services.db, budget.tenant, since=since, agent=budget.agent)
        daily = {day: spent.cost_micros for day, spent in days.items()}
        status = status_of(budget, daily, now.date(), share)
        unpriced = sum(spent.unpriced_calls for day, spent in days.items() if status.since <= day < status.until)
        found.append(status.with_unpriced(unpriced))
    return found


def _tenant(principal: Principal, tenant: str | None) -> str:
    require_role(principal, *READERS)
    if tenant is not None and tenant != principal.tenant_id and principal != LOCAL_OPERATOR:
        raise PermissionDenied("only the local operator may name another tenant")
    return tenant or principal.tenant_id


def _micros(day: date) -> int:
    return (day - date(1970, 1, 1)).days * DAY_MICROS


def _unpriced(line: UnpricedLine) -> dict[str, Any]:
    return {
        "provider": line.provider,
        "model": line.model,
        "release_id": line.release_id,
        "reason": "no_price" if line.tells_tokens else "no_tokens",
        "calls": line.calls,
        "input_tokens": line.input_tokens,
        "output_tokens": line.output_tokens,
        "first_at": iso(line.first_at),
        "last_at": iso(line.last_at),
    }


def _body(line: UsageLine) -> dict[str, Any]:
    usage: Usage = line.usage
    return {
        "day": line.day.isoformat() if line.day else None,
        "agent": line.agent,
        "provider": line.provider,
        "model": line.model,
        "release_id": line.release_id,
        "intent": line.intent,
        "calls": line.calls,
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cached_tokens": usage.cached_tokens,
        "cost_micros": line.cost_micros,
        "unpriced_calls": line.unpriced_calls,
    }
