"""What work in the background stands on: one field of `Services`."""

import asyncio
from dataclasses import dataclass, field

from handrail.core.jobs import Engine, NoEngine
from handrail.db.jobs import Executors, JobRuns, Outbox
from handrail.insight.feedback import FeedbackRetention
from handrail.insight.traces import TraceRetention
from handrail.oversight.approvals import ApprovalRetention
from handrail.oversight.escalations import EscalationRetention
from handrail.protection.encryption import ErasureLog
from handrail.protection.privacy import TokenVault
from handrail.serving.conversations import ConversationExport, ConversationRetention, ExportFolder, SubjectRecords


@dataclass(frozen=True, slots=True)
class KeptDays:
    """For how many days each class of data is kept; for good, where it says nothing."""

    conversations: int | None = None
    escalations: int | None = None
    approvals: int | None = None
    facts: int | None = None
    usage: int | None = None
    keys: int | None = None
    switches: int | None = None
    exports: int | None = None
    traces: int = 30
    jobs: int = 30
    alerts: int = 90


@dataclass(slots=True)
class Background:
    """`engine` is set once one runs; `logging` is held while an anonymised log is written."""

    outbox: Outbox
    runs: JobRuns
    executors: Executors
    conversations: ConversationRetention
    approvals: ApprovalRetention
    escalations: EscalationRetention
    traces: TraceRetention
    feedback: FeedbackRetention
    export: ConversationExport
    exports: ExportFolder
    subjects: SubjectRecords
    erasures: ErasureLog
    vault: TokenVault
    kept: KeptDays = KeptDays()
    logging: asyncio.Lock = field(default_factory=asyncio.Lock)
    engine: Engine = field(default_factory=NoEngine)
