"""What a server does beside the turns, done when its time has come on the moved clock, unless the plan says that a part
of it stands still."""

from handrail.core.clock import FrozenClock
from handrail.core.ids import new_id
from handrail.core.jobs import DEPLOYMENT, Task
from handrail.flows import alerting, job_runs, rollup
from handrail.flows.jobs import JOBS, State
from handrail.flows.services import Services
from handrail.insight.alerts import Alerts, AlertStore, RecordingSender
from handrail.testing.simulation.days import Plan, Trouble
from handrail.testing.simulation.ticks import MOST_WAITING, SimulatedTraces, Ticks

# Nobody is told of what is made up; of the two, the pager can be down.
DESK, PAGER = "simulated", "simulated-pager"


class Upkeep:
    """The keepers of a process, one after another, over services whose traces and alerts it replaces."""

    def __init__(self, services: Services, clock: FrozenClock, plan: Plan, ticks: Ticks) -> None:
        self._services = services
        self._clock = clock
        self._plan = plan
        self._jobs = SimulatedJobs(services)
        self._window = rollup.Windows(services).of
        self._sender = RecordingSender((DESK, PAGER))
        services.alerts = Alerts(AlertStore(services.db), sender=self._sender)
        services.traces = SimulatedTraces(services.db, ticks, self._lost)

    async def look(self) -> None:
        """Count, write, seal, run jobs, and look at alerts."""
        services = self._services
        if not self._stands("counting_stops"):
            await rollup.catch_up(services, self._window)
        if not self._stands("tracing_stops"):
            await services.traces.flush()
        await services.audit.flush()
        await self._jobs.run_due()
        while not self._stands("sealing_stops") and await services.audit.seal() is not None:
            pass
        self._sender.failing = {PAGER} if self._stands("channel_down") else set()
        await alerting.watch(services)
        await alerting.send(services)

    async def after_turn(self) -> None:
        """Keep the line of traces short between two looks, as a server does all the time."""
        if self._services.traces.waiting > MOST_WAITING // 2 and not self._stands("tracing_stops"):
            await self._services.traces.flush()

    def _stands(self, what: Trouble) -> bool:
        return self._plan.holds(what, self._plan.seconds_at(self._clock.micros()))

    def _lost(self, reason: str, count: int) -> None:
        self._services.metrics.traces_dropped(reason, count)
        self._services.alerts.lose(reason, count)


class SimulatedJobs:
    """Runs jobs by their schedules and those that are asked for, on the moved clock; each to its end."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._looked_at = services.clock.micros()

    async def run_due(self) -> None:
        """Every schedule whose time came since the last look, once; then what waits in the outbox."""
        now, background = self._services.clock.micros(), self._services.background
        for job in JOBS.values():
            if job.schedule is not None and job.schedule.last_until(now) > self._looked_at:
                await self._run(Task(new_id("run"), job.name, DEPLOYMENT))
        self._looked_at = now
        if asked := await background.outbox.waiting():
            for task in asked:
                await self._run(task)
            await background.outbox.mark_sent(asked)

    async def _run(self, task: Task) -> None:
        await job_runs.begin(self._services, task)
        state: State = {}
        while not state.get("done"):
            state = await job_runs.work(self._services, task, state)
        await job_runs.end(self._services, task, state)
