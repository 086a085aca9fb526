"""Measures as words: a number in its unit with its interval, or that there is too little to say one."""

from collections.abc import Mapping
from typing import Any


def number(value: float, kind: str, currency: str) -> str:
    """A value in its unit."""
    if kind == "share":
        return f"{value * 100:.1f} %"
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
        return f"{number(each['value'], kind, currency)}: too few users to say more"
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
