"""What Prometheus reads: counted once a turn, with labels that stay few.

Label values come from the agent project or are capped: never a tenant, a user, an id or a text.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, disable_created_metrics, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from handrail.core.answers import ModelCalled
from handrail.core.errors import HandrailError
from handrail.core.usage import Usage
from handrail.telemetry.insight import InsightMetrics
from handrail.telemetry.labelled import Counters, Gauges, Histograms, gauge
from handrail.telemetry.objectives import ObjectiveMetrics

NONE = "none"

# The three targets (0.5, 2 and 5 s) are bucket edges, so that a share within its target is read off exactly.
LATENCY_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0)
# People: from a click without a look (3 s) to the longest default expiry (72 h).
DECISION_BUCKETS = (3.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 86_400.0, 259_200.0)
JOB_BUCKETS = (0.1, 1.0, 10.0, 60.0, 600.0, 3600.0)
# What Handrail itself takes is a few milliseconds.
OVERHEAD_BUCKETS = (
    0.0005, 0.001, 0.0015, 0.002, 0.0025, 0.003, 0.004, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 1.0,
)  # fmt: skip


# What a breaker's change is worth on a graph; a released one is what its circuit says, which the next change tells.
_BREAKER_STATES: Mapping[str, float] = {
    "closed": 0.0,
    "released": 0.0,
    "half_open": 0.5,
    "open": 1.0,
    "forced_open": 1.0,
}


class _BreakerChange(Protocol):
    @property
    def key(self) -> str: ...
    @property
    def became(self) -> str: ...


class _Retry(Protocol):
    @property
    def key(self) -> str: ...


class _Named(Protocol):
    """A model client, as far as a label needs it."""

    provider: str
    model: str


class Metrics:
    """The counters of one process, in a registry of their own so that several can live side by side in tests.

    Args:
        shared_folder: where the workers of one server count, each in files of its own; the page then has the sums
            of all, of breakers the worst. The library looks for it in `PROMETHEUS_MULTIPROC_DIR` when it is imported.
    """

    def __init__(self, shared_folder: str | None = None) -> None:
        self._shared_folder = shared_folder
        self._watched: list[tuple[Gauge, Callable[[], int]]] = []
        # A `..._created` series beside each counter doubles the page and no query of ours reads it.
        disable_created_metrics()
        self._registry = CollectorRegistry()
        self._count_turns()
        self._count_models_and_tools()
        self._count_people()
        self._count_protection()
        self._count_machinery()
        self._count_alerts()
        self.insight = InsightMetrics(self._registry)
        self.objectives = ObjectiveMetrics(self._registry)

    def _count_turns(self) -> None:
        self._requests = Counters(self._registry, "agent_requests", "Turns that ended.", ("agent", "intent"))
        self._errors = Counters(
            self._registry, "agent_errors", "Turns that failed, by error code.", ("agent", "error_type")
        )
        self._latency = Histograms(
            self._registry,
            "agent_latency_seconds",
            "From the message to the last word of the answer.",
            ("agent", "intent", "latency_class"),
            LATENCY_BUCKETS,
        )
        self._first_text = Histograms(
            self._registry,
            "agent_first_text_seconds",
            "From the message to the first word of the answer.",
            ("agent", "latency_class"),
            LATENCY_BUCKETS,
        )
        self._overhead = Histograms(
            self._registry,
            "handrail_overhead_seconds",
            "Time of a turn that was not spent waiting for a model or a tool.",
            ("agent",),
            OVERHEAD_BUCKETS,
        )
        self._rate_limited = Counters(self._registry, "rate_limited", "Turns refused by a rate limit.", ("agent",))
        self._refused = Counters(
            self._registry, "handrail_admission_refused", "Turns that found no place, by error code.", ("code",)
        )
        self._admission_running = gauge(self._registry, "handrail_admission_running", "Turns that have a place.", "sum")
        self._admission_waiting = gauge(self._registry, "handrail_admission_waiting", "Turns that wait for one.", "sum")
        self._taken_over = Counters(
            self._registry, "turns_taken_over", "Turns of a process that was gone, gone on with here.", ("agent",)
        )
        self._rungs = Counters(
            self._registry, "handrail_rungs", "Rungs of the degradation ladder that gave the answer.",
            ("agent", "kind", "rung"),
        )  # fmt: skip

    def _count_models_and_tools(self) -> None:
        self._model_calls = Counters(
            self._registry, "model_calls", "Model calls that gave an answer.", ("agent", "provider", "model")
        )
        self._model_latency = Histograms(
            self._registry,
            "model_latency_seconds",
            "From the request to the end of the model's answer.",
            ("provider", "model"),
            LATENCY_BUCKETS,
        )
        self._tokens = Counters(
            self._registry, "model_tokens", "Tokens as the provider counted them.", ("agent", "model", "kind")
        )
        self._tokens_estimated = Counters(
            self._registry,
            "model_tokens_estimated",
            "Tokens of calls that broke off before the provider told, by their bytes.",
            ("agent", "model", "kind"),
        )
        self._fallbacks = Counters(
            self._registry, "model_fallbacks", "Answers taken from the next model.", ("model", "to", "error_type")
        )
        self._tool_calls = Counters(
            self._registry, "tool_calls", "Tool calls, by how they ended.", ("agent", "tool", "status")
        )
        self._untraced_calls = Counters(
            self._registry,
            "untraced_calls",
            "Tool calls that could not be traced to the user while untrusted text was about.",
            ("agent", "tool", "action"),
        )

    def _count_alerts(self) -> None:
        self._firing_seen: set[tuple[str, str]] = set()
        self._alerts_firing = Gauges(
            self._registry, "handrail_alerts_firing", "Alerts that fire, as the process that looks saw them last.",
            ("rule", "severity"),
        )  # fmt: skip
        self._notices = Counters(
            self._registry, "handrail_alert_notices", "Messages to channels, by what became of them.",
            ("channel", "outcome"),
        )  # fmt: skip

    def alerts_fire(self, firing: Sequence[tuple[str, str]]) -> None:
        """What fires now, each as rule and severity; what fired before and does not any more is 0."""
        self._firing_seen.update(firing)
        for each in self._firing_seen:
            self._alerts_firing.of(*each).set(firing.count(each))

    def notice_sent(self, channel: str, outcome: str) -> None:
        """A channel took a message or did not."""
        self._notices.of(channel, outcome).inc()

    def _count_people(self) -> None:
        self._approvals_asked = Counters(
            self._registry, "approvals_asked", "Tool calls that wait for people.", ("agent", "tool")
        )
        self._approvals_decided = Counters(
            self._registry, "approvals_decided", "Approvals that were decided or expired.", ("agent", "status")
        )
        self._approval_seconds = Histograms(
            self._registry,
            "approval_decision_seconds",
            "From the asking to the decision, or to the end of the time for it.",
            ("agent", "status"),
            DECISION_BUCKETS,
        )
        self._waited: set[str] = set()
        self._approvals_waiting = Gauges(
            self._registry, "approvals_waiting", "Approvals that nobody has decided yet.", ("agent",)
        )
        self._approvals_oldest = gauge(
            self._registry, "approvals_oldest_seconds", "How long the oldest of them has waited.", "max"
        )
        self._approvals_escalated = Counters(
            self._registry, "approvals_escalated", "Approvals that waited too long and went to more people.", ("agent",)
        )
        self._escalations = Counters(
            self._registry, "escalations", "Conversations handed to people.", ("agent", "team")
        )

    def _count_protection(self) -> None:
        self._claims_made: dict[str, tuple[int, int]] = {}
        self._claims = Counters(
            self._registry, "answer_claims", "Numbers, dates, ids, quotes and names in answers.", ("agent",)
        )
        self._unsupported = Counters(
            self._registry, "answer_claims_unsupported", "Claims that the model was not given.", ("agent", "kind")
        )
        self._unsupported_rate = Gauges(
            self._registry, "unsupported_claim_rate", "Share of those claims since the process began.", ("agent",)
        )
        self._tripped = Counters(
            self._registry,
            "guardrails_tripped",
            "Guardrails that a text tripped, by what was done.",
            ("agent", "channel", "guardrail", "action"),
        )
        self._refused_by_rate = Counters(
            self._registry, "handrail_rate_limited", "What was refused by a rate limit, by the rate.", ("rate",)
        )
        self._denied = Counters(
            self._registry, "handrail_denied", "Requests and tool calls that were refused for who asked.", ("code",)
        )

    def _count_machinery(self) -> None:
        self._breakers = Gauges(
            self._registry, "handrail_breaker_state", "0 closed, 0.5 half open, 1 open or forced open.", ("breaker",)
        )
        self._breaker_changes = Counters(
            self._registry, "handrail_breaker_changes", "What breakers became.", ("breaker", "became")
        )
        self._retries = Counters(self._registry, "handrail_retries", "Calls that were made again.", ("breaker",))
        self._job_runs = Counters(self._registry, "job_runs", "Runs of jobs that ended.", ("job", "status"))
        self._job_seconds = Histograms(
            self._registry, "job_seconds", "From the last start of a run to its end.", ("job",), JOB_BUCKETS
        )
        self._jobs_waiting = gauge(self._registry, "jobs_waiting", "Runs in the outbox when it was last read.", "max")
        self._counted = Counter("rollup_conversations", "Conversations counted anew.", registry=self._registry)
        self._not_counted = Counter(
            "rollup_failures", "Conversations that could not be counted.", registry=self._registry
        )
        self._rollup_lag = gauge(self._registry, "rollup_lag_seconds", "Age of what is not counted yet.", "max")
        self._indexed = Counter("search_conversations", "Conversations read into the index.", registry=self._registry)
        self._not_indexed = Counter(
            "search_failures", "Conversations that could not be read into the index.", registry=self._registry
        )
        self._search_waiting = gauge(self._registry, "search_waiting", "Conversations not in the index yet.", "max")
        self._search_lag = gauge(self._registry, "search_lag_seconds", "Age of what is not in the index yet.", "max")
        self._lost = Counters(
            self._registry, "handrail_shared_state_lost", "What went on in this process alone: Valkey did not answer.",
            ("what",),
        )  # fmt: skip
        self._traces_dropped = Counters(
            self._registry, "traces_dropped", "Traces that were not kept or not sent on, though they should be.",
            ("reason",),
        )  # fmt: skip
        self._shared_state = gauge(self._registry, "handrail_shared_state_up", "1 while Valkey answers.", "min")

    def turn(
        self,
        agent: str,
        intent: str | None,
        latency_class: str | None,
        seconds: float,
        overhead_seconds: float,
        error_code: str | None = None,
        first_text_seconds: float | None = None,
    ) -> None:
        """A turn has ended; called once for each. One that said nothing has no first word."""
        intent, latency_class = intent or NONE, latency_class or NONE
        if first_text_seconds is not None:
            self._first_text.of(agent, latency_class).observe(first_text_seconds)
        self._requests.of(agent, intent).inc()
        self._latency.of(agent, intent, latency_class).observe(seconds)
        self.objectives.took(agent, latency_class, seconds)
        self._overhead.of(agent).observe(overhead_seconds)
        if error_code is not None:
            self._errors.of(agent, error_code).inc()

    def model_call(self, agent: str, call: ModelCalled) -> None:
        """A model call has given an answer. Unknown token counts count nothing."""
        self._model_calls.of(agent, call.provider, call.model).inc()
        self._model_latency.of(call.provider, call.model).observe(call.milliseconds / 1000)
        self.insight.cost(agent, call.model, call.cost_micros)
        usage = call.usage
        if usage.input_tokens:
            self._tokens.of(agent, call.model, "input").inc(usage.input_tokens)
        if usage.output_tokens:
            self._tokens.of(agent, call.model, "output").inc(usage.output_tokens)
        if usage.cached_tokens:
            self._tokens.of(agent, call.model, "cached").inc(usage.cached_tokens)

    def tokens_estimated(self, agent: str, model: str, usage: Usage) -> None:
        """A call broke off before its usage was told."""
        self._tokens_estimated.of(agent, model, "input").inc(usage.input_tokens or 0)
        self._tokens_estimated.of(agent, model, "output").inc(usage.output_tokens or 0)

    def tool_call(self, agent: str, tool: str, status: str) -> None:
        self._tool_calls.of(agent, tool, status).inc()

    def rate_limited(self, agent: str, rate: str) -> None:
        """A turn or a conversation of an agent was refused by a `rate`."""
        self._rate_limited.of(agent).inc()
        self.refused_by_rate(rate)

    def refused_by_rate(self, rate: str) -> None:
        """`turns`, `conversations`, `tokens`, or of one address `requests`, `credentials`, `sign-ins`."""
        self._refused_by_rate.of(rate).inc()

    def fallback(self, failed: _Named, to: _Named, error: HandrailError) -> None:
        """One model failed and the next was asked."""
        self._fallbacks.of(failed.model, to.model, error.code).inc()

    def escalation(self, agent: str, team: str | None) -> None:
        self._escalations.of(agent, team or NONE).inc()

    def guardrail_tripped(self, agent: str, channel: str, guardrail: str, action: str) -> None:
        self._tripped.of(agent, channel, guardrail, action).inc()

    def grounded(self, agent: str, claims: int, unsupported: Sequence[str]) -> None:
        """An answer made so many claims, and those of these kinds stand nowhere in what the model was given."""
        self._claims.of(agent).inc(claims)
        for kind in unsupported:
            self._unsupported.of(agent, kind).inc()
        made, wrong = self._claims_made.get(agent, (0, 0))
        made, wrong = self._claims_made[agent] = (made + claims, wrong + len(unsupported))
        self._unsupported_rate.of(agent).set(wrong / made)

    def denied(self, code: str) -> None:
        self._denied.of(code).inc()

    def approval_asked(self, agent: str, tool: str) -> None:
        self._approvals_asked.of(agent, tool).inc()

    def untraced_call(self, agent: str, tool: str, action: str) -> None:
        """A call that a person was asked about (`approve`), or that was refused."""
        self._untraced_calls.of(agent, tool, action).inc()

    def approval_decided(self, agent: str, status: str, seconds: float) -> None:
        """An approval was decided or ran out of time, so long after it was asked for."""
        self._approvals_decided.of(agent, status).inc()
        self._approval_seconds.of(agent, status).observe(seconds)

    def approval_escalated(self, agent: str) -> None:
        self._approvals_escalated.of(agent).inc()

    def approvals_wait(self, by_agent: Mapping[str, int], oldest_seconds: float) -> None:
        """So many approvals wait of each agent that has or had some; the oldest of all for so long."""
        for agent in {*self._waited, *by_agent}:
            self._approvals_waiting.of(agent).set(by_agent.get(agent, 0))
        self._waited.update(by_agent)
        self._approvals_oldest.set(oldest_seconds)

    def taken_over(self, agent: str) -> None:
        """A turn of a process that is gone went on in this one."""
        self._taken_over.of(agent).inc()

    def breaker_changed(self, change: _BreakerChange) -> None:
        """A breaker opened, closed, began to probe or was switched. Only models, tools and agents are told apart."""
        kind = change.key.partition(":")[0]
        breaker = change.key if kind in ("model", "tool", "agent") else kind
        self._breakers.of(breaker).set(_BREAKER_STATES[change.became])
        self._breaker_changes.of(breaker, change.became).inc()

    def retried(self, retry: _Retry) -> None:
        self._retries.of(retry.key).inc()

    def rung(self, agent: str, kind: str, rung: str) -> None:
        """This rung of a `model`'s or a `tool`'s ladder gave the answer."""
        self._rungs.of(agent, kind, rung).inc()

    def refused(self, code: str) -> None:
        """Admission had no place for a turn."""
        self._refused.of(code).inc()

    def watch_admission(self, running: Callable[[], int], waiting: Callable[[], int]) -> None:
        """How many turns have and want a place, asked when the page is."""
        if self._shared_folder is None:
            self._admission_running.set_function(running)
            self._admission_waiting.set_function(waiting)
        else:
            self._watched = [(self._admission_running, running), (self._admission_waiting, waiting)]

    def sample(self) -> None:
        """Note for the other workers' pages what is asked for only here; call it once a second."""
        for watched, value in self._watched:
            watched.set(value())

    def job_ended(self, job: str, status: str, seconds: float) -> None:
        """A run of a job has ended in this process."""
        self._job_runs.of(job, status).inc()
        self._job_seconds.of(job).observe(seconds)

    def jobs_wait(self, count: int) -> None:
        self._jobs_waiting.set(count)

    def counted(self, conversations: int, lag_seconds: float) -> None:
        """So many conversations were counted anew; what still waits is so old."""
        self._counted.inc(conversations)
        self._rollup_lag.set(lag_seconds)

    def not_counted(self) -> None:
        self._not_counted.inc()

    def indexed(self, conversations: int, waiting: int, lag_seconds: float) -> None:
        """So many conversations were read into the index, so many wait, and the first of them for so long."""
        self._indexed.inc(conversations)
        self._search_waiting.set(waiting)
        self._search_lag.set(lag_seconds)

    def not_indexed(self) -> None:
        self._not_indexed.inc()

    def shared_state_changed(self, is_up: bool) -> None:
        self._shared_state.set(int(is_up))

    def shared_state_lost(self, what: str, count: int = 1) -> None:
        """`news` not told, `events` not shown elsewhere, `rates` counted in this process alone."""
        self._lost.of(what).inc(count)

    def traces_dropped(self, reason: str, count: int = 1) -> None:
        """Traces that are lost: `line_full`, `store_unavailable`, `conversation_gone`, or what a collector did."""
        self._traces_dropped.of(reason).inc(count)

    def render(self) -> bytes:
        """All of it in Prometheus' text format."""
        if self._shared_folder is None:
            return generate_latest(self._registry)
        together = CollectorRegistry()
        MultiProcessCollector(together, path=self._shared_folder)
        return generate_latest(together)
