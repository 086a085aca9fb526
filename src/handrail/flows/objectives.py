"""Service level objectives of an agent: what its error budgets allow, what is left of them, and how fast they burn.

Turns count as soon as they have ended, whether or not their conversation is closed: an outage is seen while it lasts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from handrail.core.errors import HandrailError
from handrail.core.latency import LATENCY_CLASSES
from handrail.db import Database, StoreUnavailable
from handrail.flows.services import Services
from handrail.insight.alerts import Objective as Stated
from handrail.insight.alerts import Rules, differing
from handrail.insight.scorecard import Burn, ErrorBudget, burns
from handrail.insight.scorecard.histogram import slower_than
from handrail.reports.filters import Filters
from handrail.reports.objectives import windows
from handrail.reports.series import Turns, summary
from handrail.reports.signals import agents
from handrail.serving.agents.success import Objective
from handrail.telemetry.logging import logger

DAY = 24 * 3600 * 1_000_000
MOST_AGENTS = 5


@dataclass(frozen=True, slots=True)
class LatencyBudget:
    """How many turns of a class may take longer than their limit, and how many did."""

    latency_class: str
    seconds: float
    budget: ErrorBudget


@dataclass(frozen=True, slots=True)
class Objectives:
    """How the objectives stood at a time; `since` is where the window of the error budgets began, and `differing` says
    where alerts hold the agent to something else."""

    agent: str
    window_days: int
    since: int
    until: int
    availability: ErrorBudget
    burns: Sequence[Burn]
    latencies: Sequence[LatencyBudget]
    differing: Sequence[str] = ()

    @property
    def burning(self) -> Burn | None:
        """The fastest pair of windows that burns too fast."""
        return next((each for each in self.burns if each.is_too_fast), None)


async def objectives_of(
    db: Database, filters: Filters, objective: Objective, *, now: int, rules: Rules | None = None
) -> Objectives:
    """How they stood when the time of `filters` ended; its beginning does not matter."""
    since = filters.until - objective.window_days * DAY
    turns = (await summary(db, replace(filters, since=since))).turns
    near = await windows(db, filters, now=now)
    return Objectives(
        filters.agent or "",
        objective.window_days,
        since,
        filters.until,
        ErrorBudget(objective.availability, turns.turns, turns.failed),
        burns(objective.availability, near),
        [_latency(turns, name, objective) for name in LATENCY_CLASSES if name in objective.latency_seconds],
        [] if rules is None else _differing(rules, objective),
    )


async def objectives_of_tenant(services: Services, tenant_id: str, until: int) -> Sequence[Objectives]:
    """Of the tenant's agents, a few; of one whose release can't be loaded nothing is said here."""
    found: list[Objectives] = []
    for agent in (await services.releases.agents(tenant_id))[:MOST_AGENTS]:
        if agent.stable_release_id is None:
            continue
        try:
            objective = await services.releases.objective(tenant_id, agent.stable_release_id)
        except HandrailError as error:
            logger().warning("objectives can't be told", agent=agent.name, code=error.code)
            continue
        filters = Filters(tenant_id, until, until, agent.name)
        now = services.clock.micros()
        rules = services.alerts.config.file.rules
        found.append(await objectives_of(services.db, filters, objective, now=now, rules=rules))
    return found


def _differing(rules: Rules, objective: Objective) -> list[str]:
    found = differing(rules, _stated(objective))
    return [f"{name}: {each}" for name, said in found.items() for each in said]


async def stated(services: Services) -> Mapping[tuple[str, str], Stated]:
    """What every agent of every tenant promises, as alerts and metrics look at it; of one whose release can't be read
    what agents promise that say nothing."""
    return {
        key: _stated(await _objective(services, *key, release_id))
        for key, release_id in (await agents(services.db)).items()
    }


async def _objective(services: Services, tenant_id: str, agent: str, release_id: str | None) -> Objective:
    try:
        return Objective() if release_id is None else await services.releases.objective(tenant_id, release_id)
    except StoreUnavailable:
        raise
    except HandrailError as error:
        logger().warning("an agent's own objective can't be read", agent=agent, code=error.code)
        return Objective()


def _stated(objective: Objective) -> Stated:
    seconds: Mapping[str, float] = {str(name): limit for name, limit in objective.latency_seconds.items()}
    return Stated(objective.availability, objective.latency_share, seconds)


def _latency(turns: Turns, name: str, objective: Objective) -> LatencyBudget:
    seconds = objective.latency_seconds[name]  # pyright: ignore[reportArgumentType]
    counts: Mapping[int, int] = turns.latencies.get(name, {})
    return LatencyBudget(
        name, seconds, ErrorBudget(objective.latency_share, sum(counts.values()), slower_than(seconds, counts))
    )
