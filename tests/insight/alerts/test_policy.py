"""Each rule fires on what it is for, stays quiet on too little, and says its numbers."""

import math
import random
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handrail.insight.alerts import (
    RULES,
    AgentTraffic,
    ApprovalQueue,
    Budget,
    ChannelHealth,
    Counted,
    Dependency,
    FailedJob,
    Finding,
    Gauge,
    Objective,
    PrincipalActivity,
    Quality,
    Rules,
    Signals,
    Traffic,
    judge,
)
from handrail.insight.alerts.policy import DECISIONS, MOST_FINDINGS, MOST_OF_ALL
from handrail.insight.alerts.schema import AvailabilitySlo, LatencySlo
from handrail.insight.alerts.statistics import robust_limit

FIVE, HALF, HOUR, SIX, DAY = 300, 1800, 3600, 21_600, 86_400
OWN = Objective(0.99, 0.95, {"simple": 5.0, "medium": 20.0})


def agent(same_hour: tuple[float, ...] = (), **windows: tuple[int, int, int]) -> AgentTraffic:
    names = {"five": FIVE, "half": HALF, "hour": HOUR, "six": SIX, "day": DAY}
    counted = {names[name]: traffic(*each) for name, each in windows.items()}
    return AgentTraffic("acme", "shop", OWN, counted, same_hour)


def traffic(turns: int, failed: int, slow: int) -> Traffic:
    return Traffic(turns, failed, {"simple": Counted(turns, slow)} if turns else {})


def said_by(rule: str, signals: Signals, rules: Rules | None = None) -> list[Finding]:
    return [each for each in judge(rules or Rules(), signals) if each.rule == rule]


def states(rule: str, signals: Signals, rules: Rules | None = None) -> list[str]:
    return [each.state for each in said_by(rule, signals, rules)]


def down(tenant_id: str, name: str) -> Dependency:
    return Dependency(tenant_id, "tool", name, "its breaker opened")


def test_one_tenant_with_much_that_is_bad_hides_nothing_of_another() -> None:
    noisy = [down("acme", f"t{number}") for number in range(600)]
    found = said_by("dependency_down", Signals(dependencies=[*noisy, down("zoo", "refund")]))
    assert [each.tenant_id for each in found].count("acme") == MOST_FINDINGS
    assert found[-1].tenant_id == "zoo"


def test_a_storm_is_bounded_and_has_something_of_every_tenant() -> None:
    storm = [down(f"t{number % 100:03}", f"n{number}") for number in range(5000)]
    found = said_by("dependency_down", Signals(dependencies=storm))
    assert (len(found), len({each.tenant_id for each in found})) == (MOST_OF_ALL, 100)


def test_every_rule_has_its_decision() -> None:
    assert set(DECISIONS) == set(RULES)


@given(turns=st.integers(0, 3), failed=st.integers(0, 3), history=st.integers(0, 400))
def test_three_conversations_never_fire(turns: int, failed: int, history: int) -> None:
    few = traffic(turns, min(failed, turns), min(failed, turns))
    windows = dict.fromkeys((FIVE, HALF, HOUR, SIX, DAY), few)
    agents = [AgentTraffic("acme", "shop", OWN, windows, [float(turns)] * history)]
    activity = [PrincipalActivity("acme", "hmac:1", {"turns": turns, "refusals": min(turns, 1)})]
    quality = [Quality("acme", "shop", "thumbs_down", turns, turns, 0, history)]
    signals = Signals(agents=agents, principals=activity, quality=quality)
    assert [each for each in judge(Rules(), signals) if each.state == "bad"] == []


class TestErrorRate:
    def test_fires_when_far_more_fail_than_may(self) -> None:
        (found,) = said_by("error_rate", Signals(agents=[agent(five=(100, 20, 0), day=(5100, 60, 0))]))
        assert found.state == "bad"
        assert found.said == "20 of 100 turns failed in 5 minutes (20%; usual 0.8%)"
        assert found.labels == {"agent": "shop"}

    @pytest.mark.parametrize(
        ("failed", "turns", "state"), [(2, 20, "fine"), (5, 19, "quiet"), (9, 100, "fine"), (12, 100, "bad")]
    )
    def test_a_few_failures_may_be_chance(self, failed: int, turns: int, state: str) -> None:
        assert states("error_rate", Signals(agents=[agent(five=(turns, failed, 0), day=(turns, failed, 0))])) == [state]

    def test_what_always_fails_so_often_is_no_spike(self) -> None:
        assert states("error_rate", Signals(agents=[agent(five=(100, 30, 0), day=(5100, 1530, 0))])) == ["fine"]


class TestBurnRates:
    def test_an_outage_burns_in_both_windows(self) -> None:
        signals = Signals(agents=[agent(five=(50, 20, 0), hour=(600, 120, 0), half=(300, 60, 0), six=(3600, 120, 0))])
        (found,) = said_by("availability_slo", signals)
        assert found.state == "bad"
        assert found.numbers["burn_rate"] == pytest.approx(20)

    def test_one_that_is_over_does_not(self) -> None:
        signals = Signals(agents=[agent(five=(50, 0, 0), hour=(600, 120, 0), half=(300, 0, 0), six=(3600, 120, 0))])
        assert states("availability_slo", signals) == ["fine"]

    def test_a_slow_leak_fires_over_six_hours(self) -> None:
        signals = Signals(agents=[agent(five=(50, 4, 0), hour=(600, 48, 0), half=(300, 24, 0), six=(3600, 288, 0))])
        (found,) = said_by("availability_slo", signals)
        assert found.state == "bad"
        assert "in 6 h" in found.said

    def test_slow_turns_burn_the_budget_of_latency(self) -> None:
        signals = Signals(agents=[agent(five=(50, 0, 40), hour=(600, 0, 400), half=(300, 0, 9), six=(3600, 0, 9))])
        (found,) = said_by("latency_slo", signals)
        assert found.state == "bad"
        assert "400 of 600 turns of class simple took over 5 s in 1 h" in found.said

    def test_each_class_has_its_own_budget(self) -> None:
        busy, slow = Counted(600, 0), Counted(60, 60)
        windows = {each: Traffic(660, 0, {"simple": busy, "medium": slow}) for each in (FIVE, HALF, HOUR, SIX)}
        found = said_by("latency_slo", Signals(agents=[AgentTraffic("acme", "shop", OWN, windows)]))
        assert {each.labels["latency_class"]: each.state for each in found} == {"simple": "fine", "medium": "bad"}
        assert [each.numbers["limit_seconds"] for each in found] == [20, 5]

    def test_a_stricter_promise_of_the_agent_fires_sooner(self) -> None:
        windows = agent(five=(500, 10, 0), hour=(6000, 100, 0)).windows
        strict = [AgentTraffic("acme", "shop", Objective(0.999, 0.95, {}), windows)]
        assert states("availability_slo", Signals(agents=strict)) == ["bad"]
        assert states("availability_slo", Signals(agents=[agent(five=(500, 10, 0), hour=(6000, 100, 0))])) == ["fine"]

    def test_the_objective_of_the_file_goes_before_and_the_difference_is_said(self) -> None:
        rules = Rules(
            availability_slo=AvailabilitySlo(objective=0.999), latency_slo=LatencySlo(objective=0.9, target_seconds=3)
        )
        signals = Signals(agents=[agent(five=(500, 10, 0), hour=(6000, 100, 0), six=(6000, 100, 0))])
        (found,) = said_by("availability_slo", signals, rules)
        assert found.state == "bad"
        assert found.said.endswith("; alerts.yaml says 99.9%, agent.yaml 99%")
        (found,) = said_by("latency_slo", signals, rules)
        assert found.numbers["limit_seconds"] == 3
        assert "alerts.yaml says 90%, agent.yaml 95%" in found.said
        assert "alerts.yaml says 3 s, agent.yaml simple 5 s, medium 20 s" in found.said

    def test_a_file_that_says_the_same_is_no_difference(self) -> None:
        rules = Rules(availability_slo=AvailabilitySlo(objective=0.99))
        (found,) = said_by("availability_slo", Signals(agents=[agent(hour=(600, 0, 0), five=(50, 0, 0))]), rules)
        assert "alerts.yaml" not in found.said

    @given(objective=st.floats(0.01, 0.9999))
    def test_an_outage_fires_however_little_was_promised(self, objective: float) -> None:
        windows = agent(five=(50, 50, 50), hour=(600, 600, 600)).windows
        signals = Signals(
            agents=[AgentTraffic("acme", "shop", Objective(objective, objective, {"simple": 1}), windows)]
        )
        assert states("availability_slo", signals) == states("latency_slo", signals) == ["bad"]

    def test_too_few_turns_say_nothing(self) -> None:
        signals = Signals(agents=[agent(hour=(49, 0, 49), five=(5, 0, 5), six=(49, 0, 49))])
        assert states("latency_slo", signals) == ["quiet"]


class TestTrafficDrop:
    def test_silence_at_a_busy_hour_fires(self) -> None:
        (found,) = said_by("traffic_drop", Signals(agents=[agent((100, 90, 110, 95, 105, 60, 55), hour=(0, 0, 0))]))
        assert found.state == "bad"
        assert found.said == "0 turns in an hour, usually 95 at this time"

    def test_without_a_week_of_history_it_says_so(self) -> None:
        (found,) = said_by("traffic_drop", Signals(agents=[agent((100, 90), hour=(0, 0, 0))]))
        assert (found.state, found.said) == ("quiet", "not enough history: 2 of 7 days")

    def test_a_weekend_is_as_quiet_as_the_last_one(self) -> None:
        signals = Signals(agents=[agent((100, 90, 110, 95, 105, 20, 18), hour=(15, 0, 0))])
        assert states("traffic_drop", signals) == ["fine"]

    def test_the_small_hours_are_no_measure(self) -> None:
        assert states("traffic_drop", Signals(agents=[agent((3.0,) * 9, hour=(0, 0, 0))])) == ["quiet"]


class TestUnusualUser:
    def others(self, count: int) -> list[PrincipalActivity]:
        rng = random.Random(7)
        return [
            PrincipalActivity("acme", f"hmac:{n}", {"turns": max(1, round(rng.gauss(4, 2)))}, {"turns": 4.0}, 9)
            for n in range(count)
        ]

    def test_one_who_does_far_more_than_all_others_stands_out(self) -> None:
        robot = PrincipalActivity("acme", "hmac:robot", {"turns": 400})
        (found,) = said_by("unusual_user", Signals(principals=[*self.others(50), robot]))
        assert (found.state, found.labels) == ("bad", {"principal": "hmac:robot", "measure": "turns"})
        assert found.said.startswith("400 turns in an hour, without a history of their own; of 50 others")

    def test_a_busy_service_that_is_always_so_busy_does_not(self) -> None:
        service = PrincipalActivity("acme", "hmac:kiosk", {"turns": 400}, {"turns": 380.0}, usual_hours=100)
        assert states("unusual_user", Signals(principals=[*self.others(50), service])) == ["fine"]

    def test_one_who_suddenly_asks_for_many_refunds_stands_out_among_few_too(self) -> None:
        eager = PrincipalActivity("acme", "hmac:e", {"side_effects": 12, "turns": 14}, {"side_effects": 0.2}, 30)
        (found,) = said_by("unusual_user", Signals(principals=[*self.others(3), eager]))
        assert found.state == "bad"
        assert found.said == "12 actions in an hour, usually 0.2"

    def test_among_strangers_nobody_is_unusual(self) -> None:
        alone = PrincipalActivity("acme", "hmac:e", {"tripped": 9})
        assert states("unusual_user", Signals(principals=[alone])) == ["quiet"]

    def test_a_tenant_is_measured_by_its_own_people(self) -> None:
        other = [PrincipalActivity("other", f"hmac:o{n}", {"turns": 500}) for n in range(50)]
        robot = PrincipalActivity("acme", "hmac:robot", {"turns": 400})
        found = said_by("unusual_user", Signals(principals=[*other, *self.others(50), robot]))
        assert [(each.tenant_id, each.state) for each in found] == [("acme", "bad"), ("other", "fine")]

    def test_a_crowd_of_them_is_bounded_and_the_worst_are_told(self) -> None:
        crowd = [PrincipalActivity("acme", f"hmac:r{n}", {"turns": 4000 + n}) for n in range(200)]
        found = said_by("unusual_user", Signals(principals=[*self.others(900), *crowd]))
        assert len([each for each in found if each.state == "bad"]) == MOST_FINDINGS
        assert found[0].numbers["count"] == 4199

    @given(st.lists(st.integers(0, 50), min_size=21, max_size=60), st.integers(51, 10**6))
    def test_a_few_giants_are_beyond_a_limit_that_they_hardly_move(self, counts: list[int], giant: int) -> None:
        giants = [giant * 1000] * (len(counts) // 10)
        limit = robust_limit([*counts, *giants], 5.0)
        assert median(counts) <= limit
        assert limit < giant * 1000
        assert limit <= (1 + max(counts)) * math.exp(5.0)


class TestBudgets:
    def test_most_of_a_budget_spent_is_told_and_a_forecast_beyond_it(self) -> None:
        signals = Signals(budgets=[Budget("acme", "month", 85_000_000, 100_000_000, 140_000_000)])
        assert said_by("budget_spent", signals)[0].said == "85.00 USD of 100.00 USD is spent (85%)"
        assert states("budget_spent", signals) == states("budget_forecast", signals) == ["bad"]

    def test_what_nobody_can_forecast_is_not_forecast(self) -> None:
        signals = Signals(budgets=[Budget("acme", "month", 1, 100_000_000)])
        assert states("budget_forecast", signals) == ["quiet"]
        assert states("budget_spent", signals) == ["fine"]


class TestTheRest:
    def test_what_is_down_is_told(self) -> None:
        signals = Signals(dependencies=[Dependency("*", "model", "openai/large", "open: 6 of 10 calls failed")])
        assert said_by("dependency_down", signals)[0].said == "model openai/large: open: 6 of 10 calls failed"

    @pytest.mark.parametrize(("seconds", "state"), [(900, "fine"), (901, "bad")])
    def test_an_approval_waits_as_long_as_it_may(self, seconds: int, state: str) -> None:
        assert states("approval_sla", Signals(approvals=[ApprovalQueue("acme", "shop", 2, seconds)])) == [state]

    @pytest.mark.parametrize(
        ("waiting", "seconds", "said"),
        [
            (1, 12, "1 approval waits, the oldest for a minute"),
            (1, 61, "1 approval waits, the oldest for 2 minutes"),
            (2, 7200, "2 approvals wait, the oldest for 2 hours"),
        ],
    )
    def test_how_long_an_approval_waits_is_told_in_words(self, waiting: int, seconds: int, said: str) -> None:
        signals = Signals(approvals=[ApprovalQueue("acme", "shop", waiting, seconds)])
        assert said_by("approval_sla", signals)[0].said == said

    def test_a_channel_that_fails_is_told_by_its_attempts(self) -> None:
        signals = Signals(channels=[ChannelHealth("ops", 2, 21, "error 500")])
        (found,) = said_by("channel_failing", signals)
        assert found.said == "2 attempts to deliver failed, the oldest message waits for a minute: error 500"

    @pytest.mark.parametrize(
        ("bad", "count", "state"), [(30, 60, "bad"), (8, 60, "fine"), (19, 19, "quiet"), (5, 20, "fine")]
    )
    def test_quality_drops_when_it_is_certainly_worse(self, bad: int, count: int, state: str) -> None:
        quality = Quality("acme", "shop", "thumbs_down", bad, count, 40, 400)
        assert states("quality_drop", Signals(quality=[quality])) == [state]

    def test_a_failed_job_is_told(self) -> None:
        assert states("job_failed", Signals(jobs=[FailedJob("*", "retention", "disk_error", "run_1")])) == ["bad"]

    @pytest.mark.parametrize(
        ("name", "value", "state"),
        [
            ("audit_lag", 61, "bad"),
            ("audit_lag", 60, "fine"),
            ("traces_dropped", 1, "bad"),
            ("traces_dropped", 0, "fine"),
            ("insight_lag", 301, "bad"),
        ],
    )
    def test_figures_of_the_upkeep_have_their_limits(self, name: str, value: float, state: str) -> None:
        assert states(name, Signals(gauges=[Gauge(name, value)])) == [state]

    def test_a_channel_fails_after_the_second_attempt(self) -> None:
        signals = [Signals(channels=[ChannelHealth("ops", n, 60.0, "timed out")]) for n in (1, 2)]
        assert [states("channel_failing", each) for each in signals] == [["fine"], ["bad"]]

    def test_a_rule_that_is_off_or_whose_source_is_missing_says_nothing(self) -> None:
        jobs = [FailedJob("*", "retention", "disk_error", "run_1")]
        off = Rules.model_validate({"job_failed": {"enabled": False}})
        assert states("job_failed", Signals(jobs=jobs), off) == []
        assert states("job_failed", Signals(jobs=jobs, missing=frozenset({"job_failed"}))) == []
