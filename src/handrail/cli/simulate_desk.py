"""Opens a data folder for a simulation: its own clock, its own agent release, and nobody outside."""

import io
import time
from dataclasses import dataclass
from pathlib import Path

from handrail.bootstrap import services_from
from handrail.core.clock import FrozenClock, as_datetime
from handrail.core.documents import parse_yaml, validate
from handrail.core.errors import UsageError
from handrail.core.prices import Budget
from handrail.db.open import prepare_database
from handrail.db.owner import OwnerLock
from handrail.delivery.releases import Sources
from handrail.flows.releases import create_and_use
from handrail.flows.scorecard import ScorecardDesk
from handrail.flows.services import Services
from handrail.protection.auth import LOCAL_OPERATOR
from handrail.protection.privacy import redact_event
from handrail.serving.routing import Intents
from handrail.settings import AuthSettings, RateLimitSettings, Settings
from handrail.telemetry.logging import configure
from handrail.testing.simulation import DAILY_BUDGET, Plan, Report, Simulation, plan_days, plan_every_rule

MADE_UP = "sim-"
MINUTE = 60_000_000
# What people measured before there was an agent, for the scorecard to compare with.
BEFORE = {
    "csat": {"value": 3.9, "n": 220, "deviation": 1.1},
    "escalation_rate": {"value": 0.58, "n": 900},
    "cost_per_conversation": {"value": 6.5, "n": 900, "deviation": 2.0},
}
_USUAL = {"hello": ("hello", "can you help me"), "question": ("I have a question", "what can you do")}


class RealConversations(UsageError):
    """Made-up conversations would be counted with real ones."""

    code = "real_conversations"


@dataclass(frozen=True, slots=True)
class SimulationWanted:
    """Which days: so many usual ones, or those on which every rule of alerts fires."""

    seed: int
    days: int
    conversations: int
    every_rule: bool = False

    def plan(self, until: int) -> Plan:
        """That ends at this time (microseconds)."""
        if self.every_rule:
            return plan_every_rule(self.seed, until=until, conversations=self.conversations)
        return plan_days(self.seed, until=until, days=self.days, conversations=self.conversations)

    @property
    def budget(self) -> Budget:
        """Watched where none is declared."""
        # Most of a quiet week's conversations are those of the bad day after it.
        days = 1 if self.every_rule else self.days
        return Budget(name="simulated", usd=DAILY_BUDGET * self.conversations / days, period="day")


async def simulate_into(settings: Settings, project: Path, wanted: SimulationWanted, *, force: bool) -> Report:
    """Simulate days that end now in the settings' data folder.

    Raises:
        RealConversations: users who are not made up have conversations there.
        AlreadyServed: a server uses the folder.
    """
    if settings.database_url is not None:
        raise UsageError("a simulation goes into a data folder of its own; unset HANDRAIL_DATABASE_URL")
    # What goes wrong is meant to.
    configure(redact_event, level="error", stream=io.StringIO())
    lock = OwnerLock(settings.data_dir)
    lock.acquire()
    try:
        await prepare_database(settings.url)
        plan = wanted.plan(time.time_ns() // 1000 // MINUTE * MINUTE)
        clock = FrozenClock(as_datetime(plan.starts_at))
        async with services_from(_alone(settings, wanted.budget), clock) as services:
            if not force:
                await require_made_up(services, settings.data_dir)
            return await _simulate(services, clock, project, plan)
    finally:
        lock.release()


async def require_made_up(services: Services, folder: Path) -> None:
    """Raise `RealConversations` when a user who is not made up has a conversation."""
    real = [subject for _, subject in await services.background.subjects.subjects() if not subject.startswith(MADE_UP)]
    if real:
        raise RealConversations(
            f"{str(folder)!r} holds conversations of {len(real)} real users, whose figures would be mixed with made-up "
            "ones; name another folder with --data-dir, or give --force"
        )


def _alone(settings: Settings, budget: Budget) -> Settings:
    """No other server, no patience with what is made up, and no limit but those of turns."""
    resilience = settings.resilience.model_copy(update={"backoff_seconds": 0.001})
    rates = RateLimitSettings(turns_per_minute=1000, burst=1000)
    costs = settings.costs.model_copy(update={"budgets": settings.costs.budgets or (budget,)})
    return settings.model_copy(
        update={
            "valkey_url": None, "auth": AuthSettings(), "resilience": resilience, "rate_limit": rates, "costs": costs,
        }
    )  # fmt: skip


async def _simulate(services: Services, clock: FrozenClock, project: Path, plan: Plan) -> Report:
    made = await create_and_use(services.releases, project, LOCAL_OPERATOR, note="simulated traffic")
    release = await services.releases.load(LOCAL_OPERATOR.tenant_id, made.id)
    services.default_agent = release.agent
    desk = ScorecardDesk(services.db, services.clock, services.releases, services.audit, LOCAL_OPERATOR)
    if not await desk.baselines(release.agent):
        await desk.record_baseline(release.agent, measures=BEFORE, note="people alone, made up")
    sources = await services.releases.sources(LOCAL_OPERATOR.tenant_id, made.id)
    return await Simulation(services, clock, release, plan, _examples(sources)).run()


def _examples(sources: Sources) -> dict[str, tuple[str, ...]]:
    if "intents.yaml" not in sources.files:
        return dict(_USUAL)
    intents = validate(parse_yaml("intents.yaml", sources.text("intents.yaml")), Intents)
    return {each.name: tuple(each.examples) for each in intents.intents}
