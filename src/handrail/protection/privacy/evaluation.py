"""How well personal data is found, against rows that people labelled."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from handrail.core.errors import UsageError
from handrail.core.share import Share
from handrail.protection.privacy.spans import Span

# A span with this share of its characters found is found: a missed comma leaks nothing.
_COVERED = 0.9
Find = Callable[[str, str | None], Sequence[Span]]


class RowUnreadable(UsageError):
    """This line is no row of labelled or unlabelled text."""

    code = "privacy_row_unreadable"


@dataclass(frozen=True, slots=True)
class Row:
    text: str
    previous: str | None = None
    labels: tuple[tuple[int, int, str], ...] = ()
    row_id: object = None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """`recall` of labelled spans, `precision` of found ones (by overlap), `clean_flagged` of rows without a label."""

    recall: Share
    precision: Share
    clean_flagged: Share
    kinds: dict[str, tuple[Share, Share]]
    p50_ms: float
    p95_ms: float

    def figures(self) -> dict[str, Any]:
        """As plain values for JSON."""
        return {
            "recall": self.recall.figures(),
            "precision": self.precision.figures(),
            "clean_flagged": self.clean_flagged.figures(),
            "types": {
                kind: {"recall": recall.figures(), "precision": precision.figures()}
                for kind, (recall, precision) in self.kinds.items()
            },
            "p50_ms": self.p50_ms,
            "p95_ms": self.p95_ms,
        }


def parse_row(where: str, value: object) -> Row:
    """A row of `scan` or `eval`: text, and perhaps id, previous question and labelled spans."""
    if not isinstance(value, dict) or not isinstance(value.get("text"), str):
        raise RowUnreadable(f'{where}: {str(value)[:80]!r} has no text; write {{"id": 1, "text": "call me on ..."}}')
    previous = value.get("previous")
    if previous is not None and not isinstance(previous, str):
        raise RowUnreadable(
            f"{where}: previous is {str(previous)[:80]!r}; give the question before the text, or leave it out"
        )
    spans = value.get("spans") or ()
    if not isinstance(spans, list | tuple):
        raise RowUnreadable(f"{where}: spans is {str(spans)[:80]!r}; write a list of [start, end, kind]")
    labels = tuple(_label(where, span, value["text"]) for span in spans)
    return Row(value["text"], previous, labels, value.get("id"))


def _label(where: str, span: object, text: str) -> tuple[int, int, str]:
    match span:
        case [int(start), int(end), str(kind), *_] if 0 <= start < end <= len(text):
            return start, end, kind
        case _:
            raise RowUnreadable(
                f"{where}: {str(span)[:80]} is no span inside the {len(text)} characters; write [start, end, type]"
            )


def evaluate(find: Find, rows: Iterable[Row]) -> Evaluation:
    """Run over every row once, and count."""
    # Labels of other corpora may be of kinds that are not ours; they count as they are called.
    found_of: dict[str, list[bool]] = defaultdict(list)
    right_of: dict[str, list[bool]] = defaultdict(list)
    clean: list[bool] = []
    times: list[float] = []
    for row in rows:
        begun = time.perf_counter()
        spans = find(row.text, row.previous)
        times.append(1000 * (time.perf_counter() - begun))
        for start, end, kind in row.labels:
            found_of[kind].append(_covered(start, end, spans) >= _COVERED)
        for span in spans:
            right_of[span.kind.value].append(any(span.start < end and start < span.end for start, end, _ in row.labels))
        if not row.labels:
            clean.append(bool(spans))
    times.sort()
    return Evaluation(
        _share(mark for marks in found_of.values() for mark in marks),
        _share(mark for marks in right_of.values() for mark in marks),
        _share(clean),
        {
            kind: (_share(found_of.get(kind, ())), _share(right_of.get(kind, ())))
            for kind in sorted({*found_of, *right_of})
        },
        _quantile(times, 0.5),
        _quantile(times, 0.95),
    )


def _covered(start: int, end: int, spans: Sequence[Span]) -> float:
    return sum(max(0, min(end, span.end) - max(start, span.start)) for span in spans) / (end - start)


def _share(marks: Iterable[bool]) -> Share:
    every = list(marks)
    return Share(sum(every), len(every))


def _quantile(times: Sequence[float], share: float) -> float:
    return times[min(len(times) - 1, int(share * len(times)))] if times else 0.0
