"""Measures as words: a number in its unit with its interval, or that there is too little to say one."""

from collections.abc import Mapping, Sequence
from typing import Any


def number(value: float, kind: str, currency: str) -> str:
    """A value in its unit."""
    if kind == "share":
        return f"{value * 100:.1f} %"
    if kind == "seconds":
        return f"{value * 1000:.0f} ms" if abs(value) < 1 else f"{value:.2f} s"
    if kind == "money":
        return f"{value:.4f} {currency}" if abs(value) < 0.1 else f"{value:.2f} {currency}"
    return f"{value:.1f} min" if kind == "minutes" else f"{value:.0f}" if kind == "points" else f"{value:.2f}"


def said(each: Mapping[str, Any], kind: str, currency: str) -> str:
    """An estimate with its interval; of a few users only what was counted."""
    if each["value"] is None:
        return "not measured yet"
    if not each["is_enough"]:
        if kind == "share":
            return f"{round(each['value'] * each['n'])} of {each['n']}: too few users to say more"
        return (
            f"{number(each['value'], kind, currency)}: too few {'turns' if kind == 'seconds' else 'users'} to say more"
        )
    if each["low"] is None and kind == "seconds":
        return f"{number(each['value'], kind, currency)}: too few turns for an interval"
    if each["low"] is None:
        return f"at least {number(each['value'], kind, currency)}"
    low, high = (number(each[end], kind, currency) for end in ("low", "high"))
    return f"{number(each['value'], kind, currency)} ({low} to {high})"


def change(line: Mapping[str, Any], found: Mapping[str, Any] | None, currency: str) -> str:
    """A difference with its interval, and whether it is one at all; nothing where there are too few users."""
    if found is None or not line["is_enough"] or found["low"] is None:
        return ""
    low, high = (signed(found[end], line["kind"], currency) for end in ("low", "high"))
    if found["low"] <= 0 <= found["high"]:
        return f"no clear change ({low} to {high})"
    better = (found["value"] > 0) == (line["better"] == "higher")
    return f"{signed(found['value'], line['kind'], currency)}, {'better' if better else 'worse'} ({low} to {high})"


def signed(value: float, kind: str, currency: str) -> str:
    """A difference in its unit; shares differ by percentage points."""
    if kind == "share":
        return f"{value * 100:+.1f} points"
    return f"{'-' if value < 0 else '+'}{number(abs(value), kind, currency)}"


def objectives(body: Mapping[str, Any]) -> list[str]:
    """How the objectives stand, a line each; of few turns only what was counted."""
    found = [_budget("Availability", "ended without an error", body["availability"], body["window_days"])]
    for each in body["latency"]:
        name = f"Latency of {each['latency_class']} turns"
        found.append(_budget(name, f"took at most {each['seconds']:g} s", each, body["window_days"]))
    burning = [line for each in body["burn"] if (line := burn(each))]
    return [*found, *burning, *(f"Alerts differ: {each}" for each in body["differing"])]


def burn(each: Mapping[str, Any]) -> str:
    """A pair of windows; nothing when nothing happened in the long one."""
    if each["long_rate"] is None:
        return ""
    long, short = (_length(each[name]) for name in ("long_seconds", "short_seconds"))
    near = "no turns" if each["short_rate"] is None else f"{each['short_rate']:.1f}"
    verdict = "too fast" if each["is_too_fast"] else "fine"
    limit = f"limit {each['factor']:g} in both"
    return f"Burn rate in {long}: {each['long_rate']:.1f}, in {short}: {near} ({limit}): {verdict}"


def errors(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """Types of errors with their share of all turns."""
    return [
        f"{each['type']}: {each['count']} of {each['n']} turns"
        + (f", {said(each, 'share', '')}" if each["is_enough"] else "")
        + f"; before: {each['previous_count']}"
        for each in found
    ]


def left(budget: Mapping[str, Any]) -> str:
    """How much of an error budget is left."""
    if budget["budget_left"] is None:
        return "too few turns to say"
    if budget["budget_left"] < 0:
        return f"used up {1 - budget['budget_left']:.1f} times"
    return f"{budget['budget_left']:.0%} left"


def _budget(name: str, good: str, budget: Mapping[str, Any], days: int) -> str:
    if not budget["n"]:
        return f"{name}: not measured yet"
    if not budget["is_enough"]:
        return f"{name}: {budget['n'] - budget['bad']} of {budget['n']} turns {good}; too few turns to say more"
    return (
        f"{name}: {said(budget, 'share', '')} of {budget['n']} turns {good} in {days} days, "
        f"objective {budget['objective'] * 100:g} %; error budget: {left(budget)}"
    )


def _length(seconds: int) -> str:
    for size, unit in ((86_400, "d"), (3600, "h")):
        if seconds % size == 0:
            return f"{seconds // size} {unit}"
    return f"{seconds // 60} min"
