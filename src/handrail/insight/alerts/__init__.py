"""Alerts: what is wrong is said once, to those who can mend it, and again when it is over.

Acts beside the turns and never in one: one process of a cluster looks at the rules every few seconds, and what it finds
is stored in the same batch as the notices that tell of it. Open: no turn waits for it, and a source that can't be read
leaves its alerts as they are. Without the database nothing is looked at, which the processes' own readiness tells.
"""

from handrail.insight.alerts.alerts import Alerts, Message
from handrail.insight.alerts.config import AlertConfig, NoAlertsFile, read_alerts
from handrail.insight.alerts.delivery import ChildSender, Outcome, RecordingSender, Sender
from handrail.insight.alerts.lifecycle import Alert, AlertState, Change, look
from handrail.insight.alerts.notices import SEVERAL, Delivery, Desk, Notice, Places, Silence, tell
from handrail.insight.alerts.objectives import differing, limits
from handrail.insight.alerts.policy import judge
from handrail.insight.alerts.schema import RULES, AlertsFile, Rules
from handrail.insight.alerts.signals import (
    WINDOWS,
    AgentTraffic,
    ApprovalQueue,
    Budget,
    ChannelHealth,
    Counted,
    Dependency,
    FailedJob,
    Finding,
    Gauge,
    Objective,
    PrincipalActivity,
    Quality,
    Signals,
    Traffic,
)
from handrail.insight.alerts.store import AlertLease, AlertStore, RuleState

__all__ = [
    "RULES",
    "SEVERAL",
    "WINDOWS",
    "AgentTraffic",
    "Alert",
    "AlertConfig",
    "AlertLease",
    "AlertState",
    "AlertStore",
    "Alerts",
    "AlertsFile",
    "ApprovalQueue",
    "Budget",
    "Change",
    "ChannelHealth",
    "ChildSender",
    "Counted",
    "Delivery",
    "Dependency",
    "Desk",
    "FailedJob",
    "Finding",
    "Gauge",
    "Message",
    "NoAlertsFile",
    "Notice",
    "Objective",
    "Outcome",
    "Places",
    "PrincipalActivity",
    "Quality",
    "RecordingSender",
    "RuleState",
    "Rules",
    "Sender",
    "Signals",
    "Silence",
    "Traffic",
    "differing",
    "judge",
    "limits",
    "look",
    "read_alerts",
    "tell",
]
