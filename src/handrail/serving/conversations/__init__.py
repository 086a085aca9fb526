"""Conversations: the transcript, which is also the journal, and the live stream of a turn.

Acts at the beginning of a turn (commit a: message, turn, lease), after each round of tools (commit c) and at its end
(commit d). Closed: when the store is down nothing is admitted, and a turn that can't be stored is not answered. Open:
without a shared server, followers on other replicas see the answer at its end.
"""

from handrail.serving.conversations.bodies import (
    conversation_body,
    message_body,
    stored_turn_body,
    turn_body,
    usage_body,
)
from handrail.serving.conversations.export import ConversationExport, ExportFolder
from handrail.serving.conversations.idempotency import IdempotencyMismatch, IdempotencyScope
from handrail.serving.conversations.leases import LeaseStore, LeftWaiting
from handrail.serving.conversations.log import Chosen, ConversationLog, Told
from handrail.serving.conversations.policy import MOST_QUEUED, can_read, next_step
from handrail.serving.conversations.records import (
    Conversation,
    StoredMessage,
    StoredToolCall,
    Turn,
    TurnEnd,
    TurnStatus,
)
from handrail.serving.conversations.replay import replay
from handrail.serving.conversations.retention import ConversationRetention
from handrail.serving.conversations.shared_streams import SharedStreams
from handrail.serving.conversations.store import (
    ConversationBusy,
    ConversationStore,
    Fenced,
)
from handrail.serving.conversations.stream import Streams, TurnStream, encode_sse
from handrail.serving.conversations.subjects import SubjectRecords
from handrail.serving.conversations.transcript import as_messages

__all__ = [
    "MOST_QUEUED",
    "Chosen",
    "Conversation",
    "ConversationBusy",
    "ConversationExport",
    "ConversationLog",
    "ConversationRetention",
    "ConversationStore",
    "ExportFolder",
    "Fenced",
    "IdempotencyMismatch",
    "IdempotencyScope",
    "LeaseStore",
    "LeftWaiting",
    "SharedStreams",
    "StoredMessage",
    "StoredToolCall",
    "Streams",
    "SubjectRecords",
    "Told",
    "Turn",
    "TurnEnd",
    "TurnStatus",
    "TurnStream",
    "as_messages",
    "can_read",
    "conversation_body",
    "encode_sse",
    "message_body",
    "next_step",
    "replay",
    "stored_turn_body",
    "turn_body",
    "usage_body",
]
