"""Scorecards as API bodies: the same for the API, the command line, the console and the digest."""

from typing import Any

from handrail.core.clock import iso
from handrail.flows.scorecard import Scorecard
from handrail.insight.scorecard import FEWEST, Baseline, Estimate, Line

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
        "conversations": {"closed": report.now.closed, "pending": report.now.pending, "users": report.now.users},
        "resolution_window_hours": report.success.resolution_window_hours,
        "unpriced_calls": report.now.unpriced_calls,
        "human_cost": None if report.success.human_cost is None else report.success.human_cost.model_dump(),
        "baseline": None if report.baseline is None else baseline_body(report.baseline, short=True),
        "fewest_users": FEWEST,
        "note": NOT_CAUSAL,
        "measures": [line_body(line) for line in report.lines],
    }


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
        **estimate_body(line.now),
        "previous": estimate_body(line.previous),
        "change": _change(line.change),
        "baseline": None if line.baseline is None else estimate_body(line.baseline),
        "change_from_baseline": None if line.gain is None else _change(line.gain),
        "target": line.target,
        "verdict": line.verdict,
    }


def estimate_body(each: Estimate) -> Body:
    """With its interval at 95 %, its sample, and whether there are enough users to say more than a count."""
    return {
        "value": each.value,
        "low": each.low,
        "high": each.high,
        "n": each.n,
        "users": each.clusters,
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
        "created_by": baseline.created_by,
        "created_at": iso(baseline.created_at),
    }
    return body if short else body | {"measures": {key: estimate_body(each) for key, each in baseline.measures.items()}}


def _change(each: Estimate) -> Body | None:
    return None if each.value is None else {"value": each.value, "low": each.low, "high": each.high}
