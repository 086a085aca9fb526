"""How long a turn may take depends on what it is: no model call, one round of the model, or more."""

from typing import Literal, get_args

LatencyClass = Literal["simple", "medium", "complex"]
LATENCY_CLASSES: tuple[LatencyClass, ...] = get_args(LatencyClass)
