import math
import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from handrail.core.answers import ModelCalled
from handrail.core.models import ModelUnavailable
from handrail.core.usage import Usage
from handrail.serving.resilience import BreakerChange, Retry
from handrail.serving.resilience.breaker import Became
from handrail.telemetry.labelled import MOST_SERIES, MOST_VALUES
from handrail.telemetry.metrics import LATENCY_BUCKETS, OVERHEAD_BUCKETS, Metrics
from handrail.telemetry.objectives import Promise


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


def _samples(metrics: Metrics) -> dict[str, float]:
    return {
        f"{sample.name}{{{','.join(f'{k}={v}' for k, v in sorted(sample.labels.items()))}}}": sample.value
        for family in text_string_to_metric_families(metrics.render().decode())
        for sample in family.samples
    }


class TestObjectives:
    def test_are_told_and_turns_that_are_slower_counted_by_class(self, metrics: Metrics) -> None:
        metrics.turn("shop", None, "simple", 9.0, 0.003)
        metrics.objectives.tell({"shop": Promise(0.99, 0.95, {"simple": 2.0, "complex": 20.0})})
        for seconds in (2.0, 2.1):
            metrics.turn("shop", None, "simple", seconds, 0.003)
        metrics.turn("shop", None, None, 50.0, 0.003)
        samples = _samples(metrics)
        assert samples["handrail_objective_ratio{agent=shop,objective=availability}"] == 0.99
        assert samples["handrail_objective_ratio{agent=shop,objective=latency}"] == 0.95
        assert samples["handrail_objective_seconds{agent=shop,latency_class=simple}"] == 2
        assert samples["agent_slow_total{agent=shop,latency_class=simple}"] == 1
        assert samples["agent_slow_total{agent=shop,latency_class=complex}"] == 0

    def test_that_are_no_longer_promised_are_no_number(self, metrics: Metrics) -> None:
        metrics.objectives.tell({"shop": Promise(0.99, 0.95, {"simple": 2.0})})
        metrics.objectives.tell({"shop": Promise(0.9, 0.95, {})})
        metrics.turn("shop", None, "simple", 9.0, 0.003)
        samples = _samples(metrics)
        assert samples["handrail_objective_ratio{agent=shop,objective=availability}"] == 0.9
        assert math.isnan(samples["handrail_objective_seconds{agent=shop,latency_class=simple}"])
        assert samples["agent_slow_total{agent=shop,latency_class=simple}"] == 0

    def test_of_two_agents_of_one_name_are_the_stricter_ones(self) -> None:
        one = Promise(0.99, 0.9, {"simple": 2.0, "complex": 9.0})
        assert Promise(0.9, 0.95, {"simple": 1.0, "medium": 5.0}).stricter(one) == Promise(
            0.99, 0.95, {"simple": 1.0, "medium": 5.0, "complex": 9.0}
        )


class TestTurn:
    def test_counts_requests_latency_and_overhead(self, metrics: Metrics) -> None:
        metrics.turn("shop", "order_status", "simple", 0.4, 0.0029)
        metrics.turn("shop", "order_status", "simple", 0.6, 0.0029)

        samples = _samples(metrics)
        labels = "agent=shop,intent=order_status"
        assert samples[f"agent_requests_total{{{labels}}}"] == 2
        assert samples[f"agent_latency_seconds_bucket{{{labels},latency_class=simple,le=0.5}}"] == 1
        assert samples[f"agent_latency_seconds_sum{{{labels},latency_class=simple}}"] == pytest.approx(1.0)
        assert samples["handrail_overhead_seconds_bucket{agent=shop,le=0.0025}"] == 0
        assert samples["handrail_overhead_seconds_bucket{agent=shop,le=0.003}"] == 2
        assert not any(name.startswith("agent_errors_total") for name in samples)

    def test_counts_an_error_by_its_code_beside_the_request(self, metrics: Metrics) -> None:
        metrics.turn("shop", None, None, 1.0, 0.003, "deadline_exceeded")

        samples = _samples(metrics)
        assert samples["agent_errors_total{agent=shop,error_type=deadline_exceeded}"] == 1
        assert samples["agent_requests_total{agent=shop,intent=none}"] == 1

    def test_keeps_the_number_of_series_bounded(self, metrics: Metrics) -> None:
        for n in range(MOST_VALUES * 3):
            metrics.turn("shop", f"intent_{n}", "simple", 0.1, 0.003)

        requests = {k: v for k, v in _samples(metrics).items() if k.startswith("agent_requests_total")}
        assert len(requests) == MOST_VALUES + 1
        assert requests["agent_requests_total{agent=shop,intent=other}"] == MOST_VALUES * 2
        assert len(metrics._requests._children) == MOST_VALUES + 1

    def test_keeps_the_number_of_all_series_of_a_metric_bounded(self, metrics: Metrics) -> None:
        for agent in range(MOST_VALUES):
            for intent in range(MOST_VALUES):
                metrics.turn(f"agent-{agent}", f"intent-{intent}", "simple", 0.1, 0.001)
        requests = [name for name in _samples(metrics) if name.startswith("agent_requests_total")]
        assert len(requests) == MOST_SERIES + 1
        assert _samples(metrics)["agent_requests_total{agent=other,intent=other}"] == MOST_VALUES**2 - MOST_SERIES


class TestModelCall:
    def test_counts_tokens_by_kind_and_time(self, metrics: Metrics) -> None:
        metrics.model_call("shop", ModelCalled("openai", "m-1", Usage(100, 20, 40), 1500, "stop"))

        samples = _samples(metrics)
        assert samples["model_calls_total{agent=shop,model=m-1,provider=openai}"] == 1
        assert samples["model_latency_seconds_sum{model=m-1,provider=openai}"] == 1.5
        assert [
            samples[f"model_tokens_total{{agent=shop,kind={k},model=m-1}}"] for k in ("input", "output", "cached")
        ] == [
            100,
            20,
            40,
        ]

    def test_makes_no_zero_of_tokens_that_were_not_told(self, metrics: Metrics) -> None:
        metrics.model_call("shop", ModelCalled("openai", "m-1", Usage(), 10, "stop"))

        assert not any(name.startswith("model_tokens_total") for name in _samples(metrics))


class TestEvents:
    def test_are_counted_each_under_its_name(self, metrics: Metrics) -> None:
        class Model:
            provider = "openai"

            def __init__(self, model: str) -> None:
                self.model = model

        metrics.tool_call("shop", "find_order", "completed")
        metrics.rate_limited("shop", "tokens")
        metrics.fallback(Model("large"), Model("small"), ModelUnavailable("down"))
        metrics.escalation("shop", None)

        samples = _samples(metrics)
        assert samples["tool_calls_total{agent=shop,status=completed,tool=find_order}"] == 1
        assert samples["rate_limited_total{agent=shop}"] == 1
        assert samples["handrail_rate_limited_total{rate=tokens}"] == 1
        assert samples["model_fallbacks_total{error_type=model_unavailable,model=large,to=small}"] == 1
        assert samples["escalations_total{agent=shop,team=none}"] == 1


class TestRender:
    def test_is_of_this_object_alone(self, metrics: Metrics) -> None:
        metrics.turn("shop", "a", "simple", 0.1, 0.003)

        assert set(_samples(Metrics()).values()) == {0.0}

    def test_has_no_label_that_names_a_person_or_a_tenant(self, metrics: Metrics) -> None:
        metrics.turn("shop", "a", "simple", 0.1, 0.003, "x")
        metrics.model_call("shop", ModelCalled("p", "m", Usage(1, 1, 1), 1, "stop"))
        metrics.tool_call("shop", "t", "failed")

        labels = set(re.findall(r'[{,]([a-z_]+)="', metrics.render().decode()))
        assert labels <= {
            "agent", "intent", "latency_class", "error_type", "provider", "model", "kind", "tool", "status", "le",
        }  # fmt: skip

    def test_carries_no_created_series(self, metrics: Metrics) -> None:
        metrics.turn("shop", "a", "simple", 0.1, 0.003)

        assert b"_created" not in metrics.render()


class TestBuckets:
    def test_have_the_latency_targets_as_edges_and_rise(self) -> None:
        assert {0.5, 2.0, 5.0} <= set(LATENCY_BUCKETS)
        for buckets in (LATENCY_BUCKETS, OVERHEAD_BUCKETS):
            assert list(buckets) == sorted(set(buckets))


class TestResilience:
    @pytest.mark.parametrize(
        ("became", "value"),
        [("open", 1), ("half_open", 0.5), ("closed", 0), ("forced_open", 1), ("released", 0)],
    )
    def test_shows_each_breaker_as_it_is_and_counts_its_changes(
        self, metrics: Metrics, became: Became, value: float
    ) -> None:
        metrics.breaker_changed(BreakerChange("tool:get_order", became, "a test", 1))

        samples = _samples(metrics)
        assert samples["handrail_breaker_state{breaker=tool:get_order}"] == value
        assert samples[f"handrail_breaker_changes_total{{became={became},breaker=tool:get_order}}"] == 1

    def test_never_names_a_tenant(self, metrics: Metrics) -> None:
        metrics.breaker_changed(BreakerChange("tenant:acme", "forced_open", "unpaid", 1))

        assert "acme" not in metrics.render().decode()
        assert _samples(metrics)["handrail_breaker_state{breaker=tenant}"] == 1

    def test_asks_admission_when_the_page_is_read(self, metrics: Metrics) -> None:
        now = {"running": 3, "waiting": 0}
        metrics.watch_admission(lambda: now["running"], lambda: now["waiting"])
        now["waiting"] = 7

        samples = _samples(metrics)
        assert samples["handrail_admission_running{}"] == 3
        assert samples["handrail_admission_waiting{}"] == 7

    def test_counts_refusals_retries_and_rungs(self, metrics: Metrics) -> None:
        metrics.refused("overloaded")
        metrics.retried(Retry("tool:get_order", 1, 0.1, ModelUnavailable("down")))
        metrics.rung("shop", "tool", "cached")

        samples = _samples(metrics)
        assert samples["handrail_admission_refused_total{code=overloaded}"] == 1
        assert samples["handrail_retries_total{breaker=tool:get_order}"] == 1
        assert samples["handrail_rungs_total{agent=shop,kind=tool,rung=cached}"] == 1
