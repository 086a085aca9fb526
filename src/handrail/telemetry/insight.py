"""What Prometheus reads of feedback: who says what, never of whom."""

from prometheus_client import CollectorRegistry

from handrail.telemetry.labelled import Counters

NONE = "none"


class InsightMetrics:
    """A part of `Metrics`, in its registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._feedback = Counters(
            registry, "feedback", "Words of users and staff on turns and conversations.", ("agent", "kind", "score")
        )
        self._values = Counters(registry, "value_events", "Values that were recorded.", ("agent",))
        self._verdicts = Counters(registry, "review_verdicts", "Verdicts of reviewers, by sample.", ("agent", "sample"))
        self._verified = Counters(
            registry, "cache_verifications", "Cache hits that a reviewer looked at.", ("correct",)
        )

    def feedback(self, agent: str, kind: str, score: int | None) -> None:
        """Somebody said something new; scores are of short scales."""
        self._feedback.of(agent, kind, NONE if score is None else str(score)).inc()

    def value_event(self, agent: str) -> None:
        self._values.of(agent).inc()

    def verdict(self, agent: str, sample: str) -> None:
        self._verdicts.of(agent, sample).inc()

    def cache_verified(self, correct: bool) -> None:
        self._verified.of("yes" if correct else "no").inc()
