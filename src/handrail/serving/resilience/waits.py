"""How long a turn waited for models and tools, counted once where waits overlap."""

import time
from collections.abc import Callable


class Waits:
    """The union of all intervals between `enter` and `leave`, in seconds.

    A turn's overhead is its wall time minus this union.
    """

    __slots__ = ("_began", "_now", "_open", "_total")

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self._now = now
        self._open = 0
        self._began = 0.0
        self._total = 0.0

    def enter(self) -> None:
        if self._open == 0:
            self._began = self._now()
        self._open += 1

    def leave(self) -> None:
        self._open -= 1
        if self._open == 0:
            self._total += self._now() - self._began

    @property
    def total(self) -> float:
        return self._total + (self._now() - self._began if self._open else 0.0)
