"""Traces on the moved clock: what outside systems took is made up, so that the spans of it have to be, too.

Spans are measured by the real clock, on which a simulated call takes no time. Each time that something moves the
simulated clock within a turn, the moment is noted; a trace that ends is told anew by what was moved while it ran, so
that it takes as long as its turn and the same days have the same traces.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from time import perf_counter

from handrail.core.clock import FrozenClock
from handrail.db import Database
from handrail.insight.traces import FinishedTrace, TraceWriter
from handrail.insight.traces.recording import Noted

# A turn moves the clock a few times; what lies further back is of turns that are over.
_MOST_KEPT = 1_000
MOST_WAITING = 20


class Ticks:
    """The simulated clock as what stands outside moves it."""

    def __init__(self, clock: FrozenClock) -> None:
        self._clock = clock
        self._moved: deque[tuple[float, float]] = deque(maxlen=_MOST_KEPT)

    def micros(self) -> int:
        return self._clock.micros()

    def advance(self, seconds: float) -> None:
        self._moved.append((perf_counter(), seconds))
        self._clock.advance(seconds)

    def moved(self, began: float, at: float) -> float:
        """How far the simulated clock was moved between two moments of the real one."""
        return sum(seconds for moved, seconds in self._moved if began <= moved <= at)


class SimulatedTraces(TraceWriter):
    """Takes traces in line as ever, on the simulated clock; the line is a short one."""

    def __init__(self, db: Database, ticks: Ticks, on_dropped: Callable[[str, int], None]) -> None:
        super().__init__(db, on_dropped=on_dropped, most_waiting=MOST_WAITING)
        self._ticks = ticks

    def offer(self, finished: FinishedTrace) -> None:
        began, trace = finished.began, finished.trace
        seconds = self._ticks.moved(began, perf_counter())
        trace.noted[:] = [self._told(began, each) for each in trace.noted]
        started = self._ticks.micros() - round(seconds * 1_000_000)
        super().offer(replace(finished, seconds=seconds, started_at=started))

    def _told(self, turn: float, noted: Noted) -> Noted:
        number, parent, kind, name, began, ended, error, attributes = noted
        first = attributes.get("first_chunk_micros")
        if isinstance(first, int):
            moved = self._ticks.moved(began, began + first / 1_000_000)
            attributes = {**attributes, "first_chunk_micros": round(moved * 1_000_000)}
        until = None if ended is None else turn + self._ticks.moved(turn, ended)
        return number, parent, kind, name, turn + self._ticks.moved(turn, began), until, error, attributes
