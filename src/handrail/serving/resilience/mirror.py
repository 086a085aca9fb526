"""Breakers told to the other replicas, and theirs heard."""

from dataclasses import asdict
from typing import Any

from handrail.serving.resilience.breaker import BreakerChange, Breakers
from handrail.shared_state import Bus

TOPIC = "breaker"
SHARED = ("model:", "tool:")


class SharedBreakers:
    """A `BreakerMirror` over the bus: it neither waits nor raises, and a silent bus leaves each to itself.

    Half-open is not told: each replica sends its own few probes. Nor is what is no model's or tool's: whether the
    database answers, each replica sees for itself.
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    def publish(self, change: BreakerChange) -> None:
        if change.became != "half_open" and change.key.startswith(SHARED):
            self._bus.publish(TOPIC, asdict(change), keep=change.key)

    def hear(self, breakers: Breakers) -> None:
        """Let `breakers` do from now on as those of the other replicas did."""

        def adopt(body: Any) -> None:
            try:
                change = BreakerChange(**body)
            except TypeError:
                # A replica of another version tells more than this one knows.
                return
            breakers.adopt(change)

        self._bus.listen(TOPIC, adopt)
