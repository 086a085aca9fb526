"""When something is left alone, tried again or refused, by the settings."""

from collections.abc import Callable

from handrail.core.clock import Clock
from handrail.db import StoreUnavailable
from handrail.serving.resilience import (
    Admission,
    AdmissionLimits,
    BreakerOpen,
    BreakerPolicy,
    Breakers,
    Permit,
    RetryPolicy,
    is_model_key,
)
from handrail.settings import AdmissionSettings, ResilienceSettings, StoreSettings
from handrail.telemetry.metrics import Metrics

STORE_KEY = "store"


def store_permit(breakers: Breakers) -> Permit:
    try:
        return breakers.guard(STORE_KEY)
    except BreakerOpen as refused:
        wait = refused.retry_after_seconds or 1.0
        message = f"the database keeps failing and is left alone for {wait:.0f} s ({refused.message})"
        raise StoreUnavailable(message, retry_after_seconds=wait) from refused


def breaker_policies(settings: ResilienceSettings, store: StoreSettings) -> Callable[[str], BreakerPolicy]:
    """Models are slow at another length than tools; the database is needed back as soon as it is."""
    database = BreakerPolicy(
        failure_rate=settings.failure_rate,
        slow_seconds=store.timeout_seconds,
        open_seconds=store.open_seconds,
        probes=3,
        concurrent_probes=1,
    )
    model, tool = (
        BreakerPolicy(
            failure_rate=settings.failure_rate,
            slow_seconds=slow_seconds,
            slow_rate=settings.slow_rate,
            open_seconds=settings.open_seconds,
        )
        for slow_seconds in (settings.slow_model_seconds, settings.slow_tool_seconds)
    )
    return lambda key: model if is_model_key(key) else database if key == STORE_KEY else tool


def retry_policy(settings: ResilienceSettings) -> RetryPolicy:
    backoff = settings.backoff_seconds
    return RetryPolicy(attempts=settings.attempts, base_seconds=backoff, most_seconds=max(5.0, backoff))


def admission(settings: AdmissionSettings, clock: Clock, metrics: Metrics) -> Admission:
    admission = Admission(
        clock,
        AdmissionLimits(**settings.model_dump(exclude={"connections", "followers_per_tenant"})),
        on_refused=metrics.refused,
    )
    metrics.watch_admission(lambda: admission.running, lambda: admission.waiting)
    return admission
