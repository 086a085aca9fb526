"""What Prometheus reads of costs and feedback: how much, and who says what; never of whom."""

from prometheus_client import CollectorRegistry

from handrail.telemetry.labelled import Counters, Gauges

NONE = "none"


class InsightMetrics:
    """A part of `Metrics`, in its registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._feedback = Counters(
            registry,
            "feedback",
            "Words of users and staff on turns and conversations.",
            ("agent", "kind", "score", "source"),
        )
        self._values = Counters(registry, "value_events", "Values that were recorded.", ("agent",))
        self._verdicts = Counters(registry, "review_verdicts", "Verdicts of reviewers, by sample.", ("agent", "sample"))
        self._verified = Counters(
            registry, "cache_verifications", "Cache hits that a reviewer looked at.", ("correct",)
        )

        self._costs = Counters(
            registry, "agent_cost_micros", "Cost of model calls in millionths of a US dollar.", ("agent", "model")
        )
        self._unpriced = Counters(
            registry, "agent_unpriced_calls", "Model calls whose cost is not known.", ("agent", "model")
        )
        self._budget_used = Gauges(registry, "budget_used_ratio", "Share of a budget that is spent.", ("budget",))
        self._budget_forecast = Gauges(
            registry, "budget_forecast_ratio", "Share of a budget that its period is expected to spend.", ("budget",)
        )

    def cost(self, agent: str, model: str, micros: int | None) -> None:
        """A model call has ended; None when nobody knows what it cost."""
        if micros is None:
            self._unpriced.of(agent, model).inc()
        elif micros:
            self._costs.of(agent, model).inc(micros)

    def budget(self, name: str, used: float, forecast: float | None) -> None:
        self._budget_used.of(name).set(used)
        if forecast is not None:
            self._budget_forecast.of(name).set(forecast)

    def feedback(self, agent: str, kind: str, score: int | None, source: str) -> None:
        """Somebody said something new; scores are of short scales."""
        self._feedback.of(agent, kind, NONE if score is None else str(score), source).inc()

    def value_event(self, agent: str) -> None:
        self._values.of(agent).inc()

    def verdict(self, agent: str, sample: str) -> None:
        self._verdicts.of(agent, sample).inc()

    def cache_verified(self, correct: bool) -> None:
        self._verified.of("yes" if correct else "no").inc()
