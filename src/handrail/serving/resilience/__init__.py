"""Resilience: what keeps a turn within its time, and one failing part from taking the rest along.

Promise: what keeps failing is not called, what is tried again is tried within the deadline and under a budget, what
is too much is refused at once with a `Retry-After`, and what the user gets instead of the best answer is on record.

Acts where a turn is admitted and around every model and tool call. Everything counts in this process's memory; what
operators switched off is in the database. Breakers, switches and the last good values fail open: without news from
other replicas each goes by what it knows itself, and what it knows to be off stays off.
Bulkheads and admission fail closed: without a place nothing is begun. The hard deadline is in `core`.
"""

from handrail.serving.resilience.admission import Admission, AdmissionClosed, AdmissionLimits, Place, TenantOverloaded
from handrail.serving.resilience.breaker import (
    BreakerChange,
    BreakerMirror,
    BreakerOpen,
    Breakers,
    BreakerStatus,
    OnChange,
    Permit,
    is_model_key,
    model_key,
    named,
    tool_key,
)
from handrail.serving.resilience.bulkhead import Bulkhead, Overloaded, Slot
from handrail.serving.resilience.ladder import Ladder, Rung, Step, model_ladder, tool_ladder
from handrail.serving.resilience.last_good import LastGood, LastGoodValue, ReadKey
from handrail.serving.resilience.mirror import SharedBreakers
from handrail.serving.resilience.policy import (
    BreakerPolicy,
    BreakerState,
    NotAttempted,
    RetryPolicy,
    is_worth_retrying,
    outcome_of,
)
from handrail.serving.resilience.retention import OLD_SWITCHES
from handrail.serving.resilience.retry import Retries, Retry
from handrail.serving.resilience.store import SwitchStore
from handrail.serving.resilience.switches import EVERYWHERE, KINDS, Switch, Switchboard, SwitchedOff, SwitchKind
from handrail.serving.resilience.waits import Waits

__all__ = [
    "EVERYWHERE",
    "KINDS",
    "OLD_SWITCHES",
    "Admission",
    "AdmissionClosed",
    "AdmissionLimits",
    "BreakerChange",
    "BreakerMirror",
    "BreakerOpen",
    "BreakerPolicy",
    "BreakerState",
    "BreakerStatus",
    "Breakers",
    "Bulkhead",
    "Ladder",
    "LastGood",
    "LastGoodValue",
    "NotAttempted",
    "OnChange",
    "Overloaded",
    "Permit",
    "Place",
    "ReadKey",
    "Retries",
    "Retry",
    "RetryPolicy",
    "Rung",
    "SharedBreakers",
    "Slot",
    "Step",
    "Switch",
    "SwitchKind",
    "SwitchStore",
    "Switchboard",
    "SwitchedOff",
    "TenantOverloaded",
    "Waits",
    "is_model_key",
    "is_worth_retrying",
    "model_key",
    "model_ladder",
    "named",
    "outcome_of",
    "tool_key",
    "tool_ladder",
]
