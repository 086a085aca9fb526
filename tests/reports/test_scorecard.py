"""What the measures rest on equals what a person with a pencil would count."""

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import insert

from handrail.core.clock import FrozenClock
from handrail.core.principal import Principal
from handrail.db import Database, Prepared
from handrail.flows.scorecard import (
    DAY,
    InvalidPeriod,
    NothingMeasured,
    ScorecardDesk,
    estimates_of,
    not_comparable,
    target_of,
)
from handrail.flows.scorecard_body import scorecard_body
from handrail.insight.feedback import FeedbackRules
from handrail.insight.scorecard import FEWEST, MEASURES, Baseline, InvalidBaseline, Sums, given
from handrail.insight.scorecard.tables import conversation_fact
from handrail.insight.scorecard.wording import change, said
from handrail.reports.filters import Filters
from handrail.reports.scorecard import Counted, counted
from handrail.serving.agents.success import Success
from tests.flows.world import World

_ADD = Prepared(insert(conversation_fact))
OPERATOR = Principal("default", "olga")


def fact(number: int, at: int, **given: Any) -> dict[str, Any]:
    """A closed, resolved conversation of a user of its own."""
    row: dict[str, Any] = {
        "conversation_id": f"conv_{number}", "tenant_id": "default", "subject": f"user-{number}", "agent": "shop",
        "release_id": "rel_1", "channel": "api", "intent": "hours", "variant": "", "started_at": at, "last_at": at,
        "closes_at": None, "is_closed": 1, "turns": 2, "failed_turns": 0, "is_completed": 1, "is_resolved": 1,
        "is_escalated": 0, "is_recontacted": 0, "said_resolved": None, "escalation_reason": None, "tool_calls": 1,
        "tool_failures": 0, "tripped": 0, "refused": 0, "side_effects": 0, "approvals": 0, "csat": None, "nps": None,
        "thumbs_up": 0, "thumbs_down": 0, "model_calls": 1, "input_tokens": 10, "output_tokens": 5, "cost_micros": 2000,
        "unpriced_calls": 0, "value_micros": 0, "latency_micros": 1000, "contribution": "{}", "version": 1,
        "updated_at": at, "unsupported_turns": 0,
    }  # fmt: skip
    return row | given


async def keep(db: Database, rows: Sequence[dict[str, Any]]) -> None:
    async with db.batch() as batch:
        for row in rows:
            batch.add(_ADD, row)


def some(rng: random.Random, number: int, until: int) -> dict[str, Any]:
    resolved, turns = rng.random() < 0.6, rng.randint(1, 5)
    return fact(
        number,
        until - rng.randint(1, 10 * DAY),
        subject=None if rng.random() < 0.1 else f"user-{rng.randint(1, 40)}",
        is_closed=int(rng.random() < 0.8),
        is_resolved=int(resolved),
        is_completed=int(resolved or rng.random() < 0.5),
        is_escalated=int(not resolved and rng.random() < 0.7),
        turns=turns,
        failed_turns=rng.randint(0, turns),
        tool_calls=rng.randint(0, 4),
        csat=rng.choice([None, 1, 3, 5]),
        nps=rng.choice([None, 0, 7, 9, 10]),
        thumbs_up=rng.randint(0, 2),
        thumbs_down=rng.randint(0, 2),
        cost_micros=rng.randint(0, 90_000),
        unsupported_turns=rng.choice([None, 0, 1]),
        agent=rng.choice(["shop", "shop", "other"]),
        tenant_id=rng.choice(["default", "default", "stranger"]),
    )


def by_hand(rows: Sequence[dict[str, Any]], period: Filters, x: Any, n: Any, *, of_turns: bool) -> Sums:
    users: dict[str, tuple[float, float]] = defaultdict(lambda: (0.0, 0.0))
    for row in rows:
        here = row["tenant_id"] == "default" and row["agent"] == "shop" and (row["is_closed"] or of_turns)
        if here and period.since <= row["started_at"] < period.until:
            who = row["subject"] or row["conversation_id"]
            users[who] = (users[who][0] + x(row), users[who][1] + n(row))
    return Sums.of(users.values())


def _judged_turns(row: dict[str, Any]) -> int:
    return 0 if row["unsupported_turns"] is None else row["turns"]


async def test_sums_are_those_of_each_user(db: Database, clock: FrozenClock) -> None:
    now = clock.micros()
    rows = [some(random.Random(number), number, now) for number in range(400)]
    await keep(db, rows)
    period = Filters("default", now - 7 * DAY, now, "shop")
    found = await counted(db, period, human_cost=6.0)
    for key, x, n in (
        ("autonomous_resolution", lambda r: r["is_resolved"], lambda r: 1),
        ("error_rate", lambda r: r["failed_turns"], lambda r: r["turns"]),
        ("unsupported_claim_rate", lambda r: r["unsupported_turns"] or 0, _judged_turns),
        ("csat", lambda r: r["csat"] or 0, lambda r: r["csat"] is not None),
        ("nps", lambda r: {None: 0, 0: -100, 7: 0, 9: 100, 10: 100}[r["nps"]], lambda r: r["nps"] is not None),
        ("thumbs_up_rate", lambda r: r["thumbs_up"], lambda r: r["thumbs_up"] + r["thumbs_down"]),
        ("cost_per_resolved", lambda r: r["cost_micros"] / 1e6, lambda r: r["is_resolved"]),
        ("saving_per_conversation", lambda r: 6 * r["is_resolved"] - r["cost_micros"] / 1e6, lambda r: 1),
    ):
        hand = by_hand(rows, period, x, n, of_turns=key in ("error_rate", "unsupported_claim_rate"))
        for part in ("clusters", "n", "x", "xx", "xn", "nn"):
            assert getattr(found.sums[key], part) == pytest.approx(getattr(hand, part)), (key, part)
    here = [r for r in rows if r["tenant_id"] == "default" and r["agent"] == "shop" and r["started_at"] >= period.since]
    assert found.closed == sum(r["is_closed"] for r in here)
    assert found.pending == len(here) - found.closed
    assert found.users == len({r["subject"] or r["conversation_id"] for r in here if r["is_closed"]})
    pending = some(random.Random(0), 400, now) | {"is_closed": 0, "subject": "somebody new", "agent": "shop"}
    await keep(db, [pending | {"tenant_id": "default", "started_at": now - DAY}])
    again = await counted(db, period, human_cost=6.0)
    assert (again.users, again.pending) == (found.users, found.pending + 1)


@pytest.fixture
def desk_of(any_world: World) -> ScorecardDesk:
    services = any_world.services
    return ScorecardDesk(services.db, services.clock, services.releases, services.audit, OPERATOR)


class TestReport:
    async def test_says_of_three_conversations_only_how_many_there_were(self, desk_of: ScorecardDesk) -> None:
        at = desk_of.clock.micros() - DAY
        await keep(desk_of.db, [fact(number, at, is_resolved=int(number < 2)) for number in range(3)])
        line = scorecard_body(await desk_of.report())["measures"][0]
        assert (line["key"], line["value"], line["is_enough"]) == ("autonomous_resolution", pytest.approx(2 / 3), False)
        assert said(line, "share", "USD") == "2 of 3: too few users to say more"
        assert line["verdict"] == "no_target"

    async def test_compares_with_the_time_before_and_calls_noise_noise(self, desk_of: ScorecardDesk) -> None:
        now = desk_of.clock.micros()
        week = [fact(number, now - DAY, is_resolved=int(number % 10 < 7)) for number in range(200)]
        before = [fact(1000 + number, now - 8 * DAY, is_resolved=int(number % 10 < 4)) for number in range(200)]
        await keep(desk_of.db, [*week, *before])
        lines = {line["key"]: line for line in scorecard_body(await desk_of.report())["measures"]}
        resolved, errors = lines["autonomous_resolution"], lines["error_rate"]
        assert change(resolved, resolved["change"], "USD").startswith("+30.0 points, better")
        assert change(errors, errors["change"], "USD").startswith("no clear change")

    async def test_never_calls_an_unpriced_call_free(self, desk_of: ScorecardDesk) -> None:
        at = desk_of.clock.micros() - DAY
        await keep(desk_of.db, [fact(number, at, unpriced_calls=1, cost_micros=0) for number in range(FEWEST)])
        report = scorecard_body(await desk_of.report())
        cost = next(line for line in report["measures"] if line["key"] == "cost_per_conversation")
        assert cost["value"] is None
        assert report["unpriced_calls"] == FEWEST

    async def test_leaves_what_nobody_measures_unmeasured(self, desk_of: ScorecardDesk) -> None:
        at = desk_of.clock.micros() - DAY
        await keep(desk_of.db, [fact(number, at) for number in range(FEWEST)])
        lines = {line["key"]: line for line in scorecard_body(await desk_of.report())["measures"]}
        for key in (
            "hallucination_rate",
            "intent_accuracy",
            "csat",
            "saving_per_conversation",
            "value_per_conversation",
        ):
            assert lines[key]["verdict"] == "not_measured", key

    async def test_refuses_a_period_that_ends_before_it_begins(self, desk_of: ScorecardDesk) -> None:
        with pytest.raises(InvalidPeriod, match="ends before it begins"):
            await desk_of.report(since=10, until=5)


class TestBaseline:
    async def test_is_kept_under_the_next_number_and_compared_with(self, desk_of: ScorecardDesk) -> None:
        now = desk_of.clock.micros()
        people = {"autonomous_resolution": {"value": 0.5, "n": 400}, "csat": {"value": 4.0, "n": 80, "deviation": 1.0}}
        given = await desk_of.record_baseline(measures=people, note="the team in 2025")
        assert (given.version, given.source) == (1, "given")
        await keep(desk_of.db, [fact(number, now - DAY, is_resolved=int(number % 10 < 8)) for number in range(300)])
        line = scorecard_body(await desk_of.report())["measures"][0]
        assert change(line, line["change_from_baseline"], "USD").startswith("+30.0 points, better")
        measured = await desk_of.record_baseline()
        assert (measured.version, measured.source) == (2, "measured")
        assert [each.version for each in await desk_of.baselines()] == [2, 1]
        report = await desk_of.report(baseline=1)
        assert report.baseline is not None
        assert report.baseline.version == 1

    async def test_of_nothing_is_refused(self, desk_of: ScorecardDesk) -> None:
        with pytest.raises(NothingMeasured, match="no conversation has closed"):
            await desk_of.record_baseline()

    @pytest.mark.parametrize(
        ("measures", "says"),
        [
            ({"resolution": {"value": 0.5, "n": 4}}, "no measure is called 'resolution'"),
            ({"error_rate": {"value": 50, "n": 4}}, "is no share"),
            ({"error_rate": {"value": 0.5}}, "of how many"),
            ({"csat": {"value": 4, "n": 4, "mean": 1}}, "'mean' is not known"),
        ],
    )
    async def test_that_can_not_be_is_refused(self, desk_of: ScorecardDesk, measures: Any, says: str) -> None:
        with pytest.raises(InvalidBaseline, match=says):
            await desk_of.record_baseline(measures=measures)


@pytest.mark.parametrize(
    ("counts_in", "usd", "values", "value"),
    [
        ("USD", None, FeedbackRules(), 12.0),
        ("EUR", 1.2, FeedbackRules(currency="EUR"), 12.0),
        ("EUR", 1.2, FeedbackRules(currency="EUR", usd=1.3), 12.0),
        ("EUR", 1.2, FeedbackRules(), 10.0),
        ("EUR", 1.2, FeedbackRules(currency="CHF", usd=0.6), 6.0),
        ("USD", None, FeedbackRules(currency="EUR", usd=1.2), 14.4),
        ("EUR", None, FeedbackRules(currency="EUR"), None),
        ("USD", None, FeedbackRules(currency="EUR"), None),
    ],
)
def test_values_are_never_told_in_a_currency_that_they_were_not_counted_in(
    counts_in: str, usd: float | None, values: FeedbackRules, value: float | None
) -> None:
    sums = dict.fromkeys(MEASURES, Sums()) | {"value_per_conversation": Sums.of([(12.0, 1), (12.0, 1)])}
    success = Success(currency=counts_in, usd=usd)
    found = estimates_of(Counted(sums, 2, 0, 2, 0), success, values)
    assert found["value_per_conversation"].value == (value if value is None else pytest.approx(value))
    said = not_comparable(success, values, has_values=True)
    assert [f"what one {values.currency} is in US dollars" in each for each in said] == [True] * (value is None)
    assert not_comparable(success, values, has_values=False) == []


def test_a_target_in_a_currency_without_a_rate_is_not_held_against_dollars() -> None:
    targets = {"cost_per_conversation": 0.5, "error_rate": 0.01}
    for success, target in (
        (Success(targets=targets), 0.5),
        (Success(currency="EUR", usd=1.2, targets=targets), 0.5),
        (Success(currency="EUR", targets=targets), None),
    ):
        assert target_of(success, "cost_per_conversation") == target
        assert target_of(success, "error_rate") == 0.01
        said = not_comparable(success, FeedbackRules(), has_values=False)
        assert ["as success.usd" in each for each in said] == [True] * (target is None)


def test_the_money_of_a_baseline_is_compared_in_its_own_currency_only() -> None:
    measures = given({"csat": {"value": 4, "n": 9}, "cost_per_resolved": {"value": 2, "n": 9}})
    kept = Baseline("base_1", "default", "shop", "given", None, None, None, None, measures, "ana", 0, "EUR", 3)
    assert kept.measures_in("EUR") == measures
    assert list(kept.measures_in("USD")) == ["csat"]
    assert replace(kept, currency=None).measures_in("USD") == measures
    (said,) = not_comparable(Success(), FeedbackRules(), has_values=False, against=kept)
    assert "baseline 3 is in EUR, this report in USD" in said
