"""Scorecards as API bodies: the same for the API, the command line, the console and the digest."""

from typing import Any

from handrail.core.clock import iso
from handrail.core.share import Share
from handrail.flows.objectives import Objectives
from handrail.flows.scorecard import Errors, Scorecard
from handrail.insight.scorecard import FEWEST, MEASURES, Baseline, ErrorBudget, Estimate, Line, Measure

Body = dict[str, Any]
NOT_CAUSAL = (
    "Before and after is not cause and effect: users, seasons and prices change as well. For cause, compare releases "
    "that answer at the same time."
)


def scorecard_body(report: Scorecard) -> Body:
    """Shares are between 0 and 1, money in `currency`; `value` is null where nothing was measured."""
    return {
        "object": "scorecard",
        "agent": report.agent,
        "release_id": report.release_id,
        "since": iso(report.period.since),
        "until": iso(report.period.until),
        "currency": report.currency,
        "not_comparable": list(report.not_comparable),
        "conversations": {"closed": report.now.closed, "pending": report.now.pending, "users": report.now.users},
        "resolution_window_hours": report.success.resolution_window_hours,
        "unpriced_calls": report.now.unpriced_calls,
        "human_cost": None if report.success.human_cost is None else report.success.human_cost.model_dump(),
        "baseline": None if report.baseline is None else baseline_body(report.baseline, short=True),
        "fewest_users": FEWEST,
        "note": NOT_CAUSAL,
        "measures": [line_body(line) for line in report.lines],
        "objectives": objectives_body(report.objectives),
        "errors": errors_body(report.errors),
    }


def objectives_body(found: Objectives) -> Body:
    """What is left of each error budget: 1 is all of it, below 0 the objective is missed; null below `FEWEST` turns."""
    return {
        "agent": found.agent,
        "window_days": found.window_days,
        "since": iso(found.since),
        "until": iso(found.until),
        "availability": _budget_body(found.availability),
        "burn": [
            {
                "long_seconds": each.long_seconds,
                "short_seconds": each.short_seconds,
                "factor": each.factor,
                "long_rate": each.long_rate,
                "short_rate": each.short_rate,
                "is_too_fast": each.is_too_fast,
            }
            for each in found.burns
        ],
        "latency": [
            {"latency_class": each.latency_class, "seconds": each.seconds, **_budget_body(each.budget)}
            for each in found.latencies
        ],
        "differing": list(found.differing),
    }


def errors_body(errors: Errors) -> list[Body]:
    """Each type of error as a share of all turns, counted one by one, beside the period before."""
    return [
        {
            "type": each.reason,
            **_share_body(Share(each.count, errors.turns)),
            "previous_count": errors.before.get(each.reason, 0),
        }
        for each in errors.now
    ]


def _budget_body(budget: ErrorBudget) -> Body:
    good = Share(budget.total - budget.bad, budget.total)
    is_enough = budget.total >= FEWEST
    return {
        "objective": budget.objective,
        **{name: value for name, value in _share_body(good).items() if name != "count"},
        "bad": budget.bad,
        "budget_left": budget.left if is_enough else None,
        "burn_rate": budget.burn_rate if is_enough else None,
    }


def _share_body(share: Share) -> Body:
    low, high = share.interval() or (None, None)
    value = share.count / share.n if share.n else None
    return {
        "value": value, "low": low, "high": high, "n": share.n, "count": share.count, "is_enough": share.n >= FEWEST
    }  # fmt: skip


def line_body(line: Line) -> Body:
    measure = line.measure
    return {
        "key": measure.key,
        "title": measure.title,
        "group": measure.group,
        "kind": measure.kind,
        "better": "higher" if measure.is_better_higher else "lower",
        "of": measure.of,
        "definition": measure.says,
        **estimate_body(line.now, measure),
        "previous": estimate_body(line.previous, measure),
        "change": _change(line.change),
        "baseline": None if line.baseline is None else estimate_body(line.baseline, measure),
        "change_from_baseline": None if line.gain is None else _change(line.gain),
        "target": line.target,
        "verdict": line.verdict,
    }


def estimate_body(each: Estimate, measure: Measure) -> Body:
    """With its interval at 95 %, its sample, and whether there are enough users to say more than a count.

    Percentiles count turns and not users: sums by the hour know no users.
    """
    return {
        "value": each.value,
        "low": each.low,
        "high": each.high,
        "n": each.n,
        "users": None if measure.kind == "seconds" else each.clusters,
        "is_enough": each.is_enough,
    }


def baseline_body(baseline: Baseline, *, short: bool = False) -> Body:
    body: Body = {
        "id": baseline.id,
        "object": "baseline",
        "agent": baseline.agent,
        "version": baseline.version,
        "source": baseline.source,
        "note": baseline.note,
        "since": None if baseline.since is None else iso(baseline.since),
        "until": None if baseline.until is None else iso(baseline.until),
        "release_id": baseline.release_id,
        "currency": baseline.currency,
        "created_by": baseline.created_by,
        "created_at": iso(baseline.created_at),
    }
    return body if short else body | {"measures": measures_body(baseline)}


def measures_body(baseline: Baseline) -> Body:
    return {key: estimate_body(each, MEASURES[key]) for key, each in baseline.measures.items()}


def _change(each: Estimate) -> Body | None:
    return None if each.value is None else {"value": each.value, "low": each.low, "high": each.high}
