"""For the tests of an agent project: a model that follows a script, a clock that stands still, a network that fails.

Each name is resolved at first use, so that importing costs nothing.

```python
from handrail.testing import FaultProxy, FrozenClock, Latency, ScriptedModel, calls
```
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from handrail.core.clock import FrozenClock
    from handrail.serving.models import Reply, ScriptedModel, ScriptExhausted, calls
    from handrail.testing.compromised import CompromisedModel
    from handrail.testing.fault_proxy import FaultProxy
    from handrail.testing.faults import (
        Answer,
        Fault,
        HalfOpen,
        Latency,
        Refused,
        Reset,
        SlowDrip,
        Truncated,
        malformed_json,
        rate_limit_storm,
        server_error,
    )
    from handrail.testing.kms import FakeKms

__all__ = [
    "Answer",
    "CompromisedModel",
    "FakeKms",
    "Fault",
    "FaultProxy",
    "FrozenClock",
    "HalfOpen",
    "Latency",
    "Refused",
    "Reply",
    "Reset",
    "ScriptExhausted",
    "ScriptedModel",
    "SlowDrip",
    "Truncated",
    "calls",
    "malformed_json",
    "rate_limit_storm",
    "server_error",
]

_HOMES = {
    "CompromisedModel": "handrail.testing.compromised",
    "FakeKms": "handrail.testing.kms",
    "FaultProxy": "handrail.testing.fault_proxy",
    "FrozenClock": "handrail.core.clock",
    "Reply": "handrail.serving.models",
    "ScriptExhausted": "handrail.serving.models",
    "ScriptedModel": "handrail.serving.models",
    "calls": "handrail.serving.models",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'handrail.testing' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES.get(name, "handrail.testing.faults")), name)
