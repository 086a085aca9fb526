"""A trace as rows of bars, for a page or a terminal. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Protocol

from handrail.insight.traces.recording import ROOT, Kind, Span

MOST_ROWS = 200


class _Traced(Protocol):
    @property
    def duration_micros(self) -> int: ...
    @property
    def spans(self) -> Sequence[Span]: ...


@dataclass(frozen=True, slots=True)
class Bar:
    """One row: a span, or several of a kind that are shown as one.

    Attributes:
        depth: 0 for the turn itself.
        left, width: of the whole, from 0 to 1; an event has no width.
        count: how many spans this row stands for; their lengths are added up.
    """

    depth: int
    span: Span
    left: float
    width: float
    count: int = 1

    @property
    def kind(self) -> Kind:
        return self.span.kind

    @property
    def title(self) -> str:
        """As the conventions name spans, and how many of them."""
        own = self.span.kind if self.span.kind in ("invoke_agent", "chat", "execute_tool") else f"handrail.{self.kind}"
        title = f"{own} {self.span.name}".rstrip()
        return title if self.count == 1 else f"{title} x {self.count}"


def waterfall(trace: _Traced) -> list[Bar]:
    """The rows from top to bottom, each below what it is part of; never more than two hundred.

    Where there are more spans, neighbours of the same name become one row, then all of the same name in one place; of
    what is still too much, those that failed and the longest stay.
    """
    whole = max(1, trace.duration_micros)
    children: dict[int, list[Span]] = {}
    known = {each.number for each in trace.spans}
    for span in trace.spans:
        if span.number != ROOT:
            # A span whose parent was lost is still shown.
            children.setdefault(span.parent if span.parent in known else ROOT, []).append(span)
    root = next((each for each in trace.spans if each.number == ROOT), None)
    rows = [] if root is None else [(0, root, 1)]
    rows += [(depth, span, 1) for depth, span in _below(children, ROOT, 1)]
    if len(rows) > MOST_ROWS:
        rows = _joined(rows)
    if len(rows) > MOST_ROWS:
        rows = _joined(sorted(rows, key=lambda row: (row[0] > 0, row[1].parent, *_key(row))))
    if len(rows) > MOST_ROWS:
        rows = _shortened(rows)
    return [_bar(depth, span, count, whole) for depth, span, count in rows]


_Row = tuple[int, Span, int]


def _below(children: Mapping[int, Sequence[Span]], parent: int, depth: int) -> Iterator[tuple[int, Span]]:
    if depth > MOST_ROWS:
        return
    for span in sorted(children.get(parent, ()), key=lambda each: (each.started_micros, each.number)):
        yield depth, span
        yield from _below(children, span.number, depth + 1)


def _key(row: _Row) -> tuple[int, str, str, str]:
    depth, span, _ = row
    return depth, span.kind, span.name, span.error or ""


def _joined(rows: Sequence[_Row]) -> list[_Row]:
    joined: list[_Row] = []
    for (depth, *_), same in groupby(rows, key=_key):
        group = list(same)
        first = min((span for _, span, _ in group), key=lambda span: span.started_micros)
        lengths = [span.duration_micros for _, span, _ in group if span.duration_micros is not None]
        span = first if len(group) == 1 else replace(first, duration_micros=sum(lengths) if lengths else None)
        joined.append((depth, span, sum(count for *_, count in group)))
    return joined


def _shortened(rows: Sequence[_Row]) -> list[_Row]:
    """The turn itself, what failed, and the longest, in the order in which they were; the rest as one row."""
    by_weight = sorted(rows, key=lambda row: (row[0] != 0, row[1].error is None, -(row[1].duration_micros or 0)))
    left = by_weight[MOST_ROWS - 1 :]
    kept = {id(row) for row in by_weight[: MOST_ROWS - 1]}
    count = sum(each for *_, each in left)
    rest = Span(-1, ROOT, "execute_tool", "and others", 0, sum(span.duration_micros or 0 for _, span, _ in left))
    return [*(row for row in rows if id(row) in kept), (1, rest, count)]


def _bar(depth: int, span: Span, count: int, whole: int) -> Bar:
    left = min(1.0, max(0.0, span.started_micros / whole))
    return Bar(depth, span, left, min(1.0 - left, (span.duration_micros or 0) / whole), count)
