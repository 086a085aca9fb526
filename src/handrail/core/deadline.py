"""One hard deadline per turn, handed down to every model call, tool call and wait inside it."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from handrail.core.errors import HandrailError


class DeadlineExceeded(HandrailError):
    """The turn's time is used up; what was done so far is stored."""

    code = "deadline_exceeded"
    retryable = True


@dataclass(frozen=True, slots=True)
class Deadline:
    """A point on the monotonic clock, in seconds."""

    at: float
    now: Callable[[], float] = time.monotonic

    @classmethod
    def after(cls, seconds: float, now: Callable[[], float] = time.monotonic) -> "Deadline":
        return cls(now() + seconds, now)

    def remaining(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self.at - self.now())

    def within(self, seconds: float) -> float:
        """Seconds a part may take: its own limit or what is left of the turn, whichever is less."""
        return min(seconds, self.remaining())

    def until(self, seconds: float) -> "Deadline":
        """The deadline of a part that may take so long."""
        return Deadline(min(self.at, self.now() + seconds), self.now)

    def require(self) -> None:
        """Raise `DeadlineExceeded` when nothing is left."""
        if self.remaining() <= 0.0:
            raise DeadlineExceeded("the turn's deadline has passed; send the message again or ask for a person")
