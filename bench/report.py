"""The table, the bar, and the one JSON line at the end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from bench.figures import Figure
from bench.results import FLOOR, HANDRAIL, MOCK, PEER, Results
from bench.shares import SHARE

COLUMNS = (MOCK, FLOOR, HANDRAIL, PEER)
MINUTES_ALLOWED = 8


@dataclass(frozen=True, slots=True)
class Bar:
    """One line of the bar: what was measured, against its limit. `passed` is None when it was not measured."""

    name: str
    measured: float | None
    limit: float
    at_least: bool = False

    @property
    def passed(self) -> bool | None:
        if self.measured is None:
            return None
        return self.measured >= self.limit if self.at_least else self.measured <= self.limit

    def __str__(self) -> str:
        verdict = {True: "pass", False: "FAIL", None: "not measured"}[self.passed]
        measured = "-" if self.measured is None else f"{self.measured:.2f}"
        return f"{verdict:<13} {self.name}: {measured} ({'at least' if self.at_least else 'at most'} {self.limit:g})"


def table(results: Results) -> str:
    """Every metric as a Markdown table: the median of the rounds, the lowest and highest in brackets."""
    names = [name for name in COLUMNS if any(name in by_name for by_name in results.values.values())]
    header = ["", *names, f"{HANDRAIL} / {FLOOR}", f"{HANDRAIL} / {PEER}"]
    rows = [
        [
            metric,
            *(_cell(results.figure(metric, name)) for name in names),
            _cell(results.ratio(metric, HANDRAIL, FLOOR)),
            _cell(results.ratio(metric, HANDRAIL, PEER)),
        ]
        for metric in results.values
        if not metric.startswith(SHARE)
    ]
    widths = [max(len(row[at]) for row in [header, *rows]) for at in range(len(header))]
    lines = [header, ["-" * width for width in widths], *rows]
    return "\n".join(
        f"| {' | '.join(f'{cell:<{w}}' for cell, w in zip(line, widths, strict=True))} |" for line in lines
    )


def bars(results: Results, *, streams: int, minutes: float) -> list[Bar]:
    """The bar Handrail has to meet, line by line."""
    cells = ("plain @16", "plain @64", "tools @16", "tools @64")
    memory, completed = results.figure("memory MB", HANDRAIL), results.figure("streams completed", HANDRAIL)
    late = results.ratio("stream added p95 ms", HANDRAIL, FLOOR)
    return [
        *(
            Bar(f"turns/s over {PEER}, {cell}", _median(results.ratio(f"turns/s, {cell}", HANDRAIL, PEER)), 4, True)
            for cell in cells
        ),
        *(
            Bar(f"added p50 ms at 1 connection, {case}", _median(results.figure(f"added p50 ms, {case}", HANDRAIL)), 6)
            for case in ("plain", "tools")
        ),
        Bar("memory MB", _median(memory), 250),
        Bar("streams completed", completed and completed.low, streams, True),
        Bar("added p95 of the streams over the floor's", _median(late), 2),
        Bar("errors", len(results.errors), 0),
        Bar("minutes", minutes, MINUTES_ALLOWED),
    ]  # fmt: skip


def last_line(results: Results, checked: list[Bar], about: dict[str, Any]) -> str:
    """One JSON object with every figure and ratio."""
    figures = {
        metric: {name: figure.as_json() for name in by_name if (figure := results.figure(metric, name))}
        for metric, by_name in results.values.items()
    }
    ratios = {
        f"{HANDRAIL} / {other}": {
            metric: ratio.as_json() for metric in results.values if (ratio := results.ratio(metric, HANDRAIL, other))
        }
        for other in (FLOOR, PEER)
    }
    ratios[f"{FLOOR} / {PEER}"] = {
        metric: ratio.as_json() for metric in results.values if (ratio := results.ratio(metric, FLOOR, PEER))
    }
    verdicts = [
        {"name": bar.name, "measured": bar.measured, "limit": bar.limit, "passed": bar.passed} for bar in checked
    ]
    return orjson.dumps(
        {**about, "passed": is_met(checked), "bars": verdicts, "ratios": ratios, "figures": figures,
         "errors": len(results.errors)}
    ).decode()  # fmt: skip


def is_met(checked: list[Bar]) -> bool:
    """Whether no measured line of the bar fails."""
    return all(bar.passed is not False for bar in checked)


def _cell(figure: Figure | None) -> str:
    if figure is None:
        return ""
    digits = 0 if abs(figure.median) >= 100 else 1 if abs(figure.median) >= 20 else 2
    if figure.low == figure.high:
        return f"{figure.median:.{digits}f}"
    return f"{figure.median:.{digits}f} ({figure.low:.{digits}f}-{figure.high:.{digits}f})"


def _median(figure: Figure | None) -> float | None:
    return figure and figure.median
