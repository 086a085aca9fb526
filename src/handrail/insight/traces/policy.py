"""Which traces are kept. Pure."""

from dataclasses import dataclass

# The last 56 bits of a trace id are random by W3C Trace Context Level 2, and the same for all who sample by them.
_BITS = 56
# What counts as slow, in seconds: the targets of the three classes of latency.
SLOW_SECONDS = {"simple": 0.5, "medium": 2.0, "complex": 5.0}


@dataclass(frozen=True, slots=True)
class Sampling:
    """Every trace that says that something was wrong, and a share of the others.

    `share` is of traces, not of turns: turns of one trace are kept or left together.
    """

    share: float = 1.0

    def keeps(
        self, trace_id: str, *, seconds: float, latency_class: str | None, is_failed: bool, is_notable: bool
    ) -> bool:
        if self.share >= 1.0 or is_failed or is_notable:
            return True
        if seconds > SLOW_SECONDS.get(latency_class or "", 5.0):
            return True
        return int(trace_id[-14:], 16) < self.share * (1 << _BITS)
