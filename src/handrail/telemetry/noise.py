"""One warning said a hundred times is one line and a number: repetitions within a minute are counted, not written."""

import atexit
import hashlib
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import structlog
from structlog.typing import EventDict, WrappedLogger

MINUTE_SECONDS = 60.0
MOST_KEPT = 256
MOST_TRACES = 10
# What tells one saying of a line from the next.
_OF_THE_MOMENT = ("timestamp", "trace_id")
# Said with the first one.
_LONG = ("exception", "stack")
_SAMPLED = ("warning", "error", "critical")
Line = Mapping[str, Any]


@dataclass(slots=True)
class _Said:
    line: Line
    until: float
    count: int = 0
    traces: list[str] = field(default_factory=list[str])

    def add(self, line: Line) -> None:
        self.count += 1
        trace = line.get("trace_id")
        if trace and len(self.traces) < MOST_TRACES and trace not in self.traces:
            self.traces.append(trace)

    def take(self) -> Line | None:
        """The summary of what was not written, once."""
        if not self.count:
            return None
        kept = {name: value for name, value in self.line.items() if name not in (*_OF_THE_MOMENT, *_LONG)}
        times = "once" if self.count == 1 else f"{self.count} times"
        kept |= {"event": f"repeated {times}: {self.line.get('event')}", "repeated": self.count}
        if self.traces:
            kept |= {"trace_id": self.traces[-1], "traces": self.traces}
        self.count, self.traces = 0, []
        return kept


class Repetitions:
    """What was said in the last minute, no more than `MOST_KEPT` different lines. Safe between threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._said: dict[bytes, _Said] = {}
        self._lock = threading.Lock()

    @property
    def size(self) -> int:
        return len(self._said)

    def heard(self, line: Line) -> tuple[bool, list[Line]]:
        """Whether to write a line, and the summaries to write before it."""
        key, now = _key(line), self._clock()
        with self._lock:
            due = self._over(now)
            if (said := self._said.get(key)) is not None:
                said.add(line)
                return False, due
            due += self._pending()
            self._said[key] = _Said(dict(line), now + MINUTE_SECONDS)
            if len(self._said) > MOST_KEPT:
                # The oldest; its summary is among those of `due`.
                self._said.pop(next(iter(self._said)))
            return True, due

    def over(self) -> list[Line]:
        """The summaries of minutes that are over."""
        with self._lock:
            return self._over(self._clock())

    def all(self) -> list[Line]:
        """The summaries of everything, at the end of the process."""
        with self._lock:
            return self._pending()

    def waits(self) -> bool:
        with self._lock:
            return any(each.count for each in self._said.values())

    def _over(self, now: float) -> list[Line]:
        found: list[Line] = []
        # In the order in which they were said, so those that are over come first.
        for key in list(self._said):
            if self._said[key].until > now:
                break
            if (summary := self._said.pop(key).take()) is not None:
                found.append(summary)
        return found

    def _pending(self) -> list[Line]:
        return [summary for each in self._said.values() if (summary := each.take()) is not None]


class Sampled:
    """The processor: after redaction, so that nothing is kept here that may not be in a log."""

    def __init__(self, write: Callable[[EventDict], None], repetitions: Repetitions | None = None) -> None:
        self._write = write
        self._repetitions = repetitions or Repetitions()
        self._stamp = structlog.processors.TimeStamper(fmt="iso", utc=True)
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None
        atexit.register(self.close)

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        if event.get("level") not in _SAMPLED:
            return event
        is_new, due = self._repetitions.heard(event)
        self._say(due)
        if is_new:
            return event
        self._look_later()
        raise structlog.DropEvent

    def close(self) -> None:
        """Say what was not said yet, and no more by itself."""
        atexit.unregister(self.close)
        with self._lock:
            timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        with suppress(OSError, ValueError):  # the stream may be closed before
            self._say(self._repetitions.all())

    def _say(self, lines: list[Line]) -> None:
        for line in lines:
            self._write(self._stamp(None, "", dict(line)))

    def _look_later(self) -> None:
        with self._lock:
            if self._timer is None:
                self._timer = threading.Timer(MINUTE_SECONDS, self._look)
                self._timer.daemon = True
                self._timer.start()

    def _look(self) -> None:
        with self._lock:
            self._timer = None
        self._say(self._repetitions.over())
        if self._repetitions.waits():
            self._look_later()


def _key(line: Line) -> bytes:
    same = {name: value for name, value in line.items() if name not in _OF_THE_MOMENT}
    return hashlib.blake2b(repr(same).encode(), digest_size=16).digest()
