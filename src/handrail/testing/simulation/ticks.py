"""Traces on the moved clock: what outside systems took is made up, so that the spans of it have to be, too.

Spans are measured by the real clock, on which a simulated call takes no time. Each time that something outside moves
the simulated clock, the moment is noted; a trace that ends is stretched by what was moved while it ran.
"""

from collections import deque
from dataclasses import replace
from time import perf_counter

from handrail.core.clock import FrozenClock
from handrail.db import Database
from handrail.insight.traces import FinishedTrace, TraceWriter
from handrail.insight.traces.recording import Noted

# A turn moves the clock a few times; what lies further back is of turns that are over.
_MOST_KEPT = 1_000


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

    def stretched(self, began: float, at: float) -> float:
        """A moment of the real clock, with what was moved since `began`."""
        return at + sum(seconds for moved, seconds in self._moved if began <= moved <= at)


class SimulatedTraces(TraceWriter):
    """Takes traces in line as ever, on the simulated clock."""

    def __init__(self, db: Database, ticks: Ticks) -> None:
        super().__init__(db)
        self._ticks = ticks

    def offer(self, finished: FinishedTrace) -> None:
        began, trace = finished.began, finished.trace
        seconds = self._ticks.stretched(began, began + finished.seconds) - began
        trace.noted[:] = [self._stretched(began, each) for each in trace.noted]
        started = self._ticks.micros() - int(seconds * 1_000_000)
        super().offer(replace(finished, seconds=seconds, started_at=started))

    def _stretched(self, turn: float, noted: Noted) -> Noted:
        number, parent, kind, name, began, ended, error, attributes = noted
        first = attributes.get("first_chunk_micros")
        if isinstance(first, int):
            moved = self._ticks.stretched(began, began + first / 1_000_000) - began
            attributes = {**attributes, "first_chunk_micros": int(moved * 1_000_000)}
        until = None if ended is None else self._ticks.stretched(turn, ended)
        return number, parent, kind, name, self._ticks.stretched(turn, began), until, error, attributes
