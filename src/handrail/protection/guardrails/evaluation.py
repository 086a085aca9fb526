"""How well injections are found, against labelled rows; the six phrases everyone filters stand beside it."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from handrail.core.errors import UsageError
from handrail.core.share import Share
from handrail.protection.guardrails.head import CHANNELS, Channel

# What filters on the web look for; the baseline to beat.
NAIVE_PHRASES = ("ignore previous instructions", "you are now", "system:", "assistant:", "<|im_start|>", "disregard")


class RowUnreadable(UsageError):
    """This line is no text to scan."""

    code = "guard_row_unreadable"


@dataclass(frozen=True, slots=True)
class Row:
    """A text; label 1 is an attack, 0 harmless, None unknown."""

    text: str
    row_id: object = None
    label: int | None = None
    channel: Channel = "user"
    source: str = ""


@dataclass(frozen=True, slots=True)
class Rates:
    """`recall` of attacks, `false_alarms` on harmless rows, and the same by source."""

    recall: Share
    false_alarms: Share
    sources: dict[str, Share]

    def figures(self) -> dict[str, Any]:
        return {
            "recall": self.recall.figures(),
            "false_alarms": self.false_alarms.figures(),
            "sources": {source: share.figures() for source, share in self.sources.items()},
        }


@dataclass(frozen=True, slots=True)
class Evaluation:
    """By channel: the detector's rates, the naive filter's, and the time a row."""

    detector: dict[Channel, Rates]
    naive: dict[Channel, Rates]
    thresholds: dict[Channel, float]
    p50_ms: float
    p95_ms: float

    def figures(self) -> dict[str, Any]:
        """As plain values for JSON."""
        return {
            "channels": {
                channel: {
                    "threshold": self.thresholds[channel],
                    "detector": self.detector[channel].figures(),
                    "naive_filter": self.naive[channel].figures(),
                }
                for channel in self.detector
            },
            "p50_ms": self.p50_ms,
            "p95_ms": self.p95_ms,
        }


def naive_filter(text: str) -> bool:
    lower = text.lower()
    return any(phrase in lower for phrase in NAIVE_PHRASES)


def parse_row(where: str, value: object, channel: Channel | None = None) -> Row:
    """A row of `scan`, `calibrate` or `eval`; `channel` instead of the row's own."""
    if not isinstance(value, dict) or not isinstance(value.get("text"), str):
        raise RowUnreadable(f'{where}: {str(value)[:80]!r} has no text; write {{"id": 1, "text": "where is my order"}}')
    label, own = value.get("label"), value.get("channel", "user")
    if label not in (None, 0, 1):
        raise RowUnreadable(f"{where}: label is {repr(label)[:80]}; write 1 for an attack, 0 for harmless text")
    if own not in CHANNELS:
        raise RowUnreadable(f"{where}: channel is {repr(own)[:80]}; write user or tool")
    chosen = channel or own
    return Row(value["text"], value.get("id"), label, chosen, str(value.get("source", "")))


def evaluate(flagged: Callable[[Row], bool], rows: Sequence[Row], thresholds: dict[Channel, float]) -> Evaluation:
    """Scan every row once, and count."""
    for row in rows:
        if row.label is None:
            raise RowUnreadable(f"row {row.row_id!r} has no label; write 1 for an attack, 0 for harmless text")
    marks: list[bool] = []
    times: list[float] = []
    for row in rows:
        begun = time.perf_counter()
        marks.append(flagged(row))
        times.append(1000 * (time.perf_counter() - begun))
    naive = [naive_filter(row.text) for row in rows]
    times.sort()
    channels: list[Channel] = [channel for channel in CHANNELS if any(row.channel == channel for row in rows)]
    return Evaluation(
        {channel: _rates(rows, marks, channel) for channel in channels},
        {channel: _rates(rows, naive, channel) for channel in channels},
        thresholds,
        _quantile(times, 0.5),
        _quantile(times, 0.95),
    )


def _rates(rows: Sequence[Row], marks: Sequence[bool], channel: Channel) -> Rates:
    own = [(row, mark) for row, mark in zip(rows, marks, strict=True) if row.channel == channel]
    names = sorted({row.source for row, _ in own})
    return Rates(
        Share.of(mark for row, mark in own if row.label),
        Share.of(mark for row, mark in own if not row.label),
        {name: Share.of(mark for row, mark in own if row.source == name) for name in names if name},
    )


def _quantile(times: Sequence[float], share: float) -> float:
    return times[min(len(times) - 1, int(share * len(times)))] if times else 0.0
