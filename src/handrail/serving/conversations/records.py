"""Rows as values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

from handrail.core import json
from handrail.core.answers import Awaiting
from handrail.core.messages import LadderRecord, MessageRole, Provenance, ToolCall
from handrail.core.usage import Usage
from handrail.db import Row

# The owner of a turn that was handed over.
NOBODY = ""


class TurnStatus(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    REQUIRES_ACTION = "requires_action"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_over(self) -> bool:
        return self in {TurnStatus.COMPLETED, TurnStatus.FAILED, TurnStatus.CANCELLED}


@dataclass(frozen=True, slots=True)
class Conversation:
    """`failures` counts answers in a row that could only clarify; `turn_count` is also the compare-and-set guard.

    `title` is the beginning of the user's first message, for lists. `open_turns` run or wait as of this read; lists
    don't tell.
    """

    id: str
    tenant_id: str
    subject: str
    agent: str
    release_id: str
    channel: str
    turn_count: int
    failures: int
    awaiting: Awaiting | None
    created_at: int
    updated_at: int
    title: str | None = None
    open_turns: int | None = field(default=None, compare=False)

    @classmethod
    def of(cls, row: Row, *, open_turns: int | None = None) -> "Conversation":
        awaiting = row["awaiting"]
        return cls(
            row["id"],
            row["tenant_id"],
            row["subject"],
            row["agent"],
            row["release_id"],
            row["channel"],
            row["turn_count"],
            row["failures"],
            Awaiting(**json.loads(awaiting)) if awaiting else None,
            row["created_at"],
            row["updated_at"],
            row["title"],
            open_turns,
        )


@dataclass(frozen=True, slots=True)
class Turn:
    """One user message and all that follows. `epoch` fences every write of an owner that lost the lease.

    `moved_from` is the release that the conversation left with this turn, because it was switched off. `tripped` are
    the guardrails that its message tripped, each with what was done. `roles` are those of who sent it; none for an end
    user, whom nearly every turn is of. `scopes` and `teams` are theirs too; nearly nobody has any.
    `trace_id` is the trace in which it began. It `is_let_go` when its owner handed it over before it ended.
    """

    id: str
    tenant_id: str
    conversation_id: str
    seq: int
    status: TurnStatus
    agent: str
    release_id: str
    epoch: int
    created_at: int
    moved_from: str | None = None
    intent: str | None = None
    confidence: float | None = None
    action: str | None = None
    route: Mapping[str, Any] | None = None
    event_seq: int = 0
    awaiting: str | None = None
    escalation_id: str | None = None
    roles: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    teams: tuple[str, ...] = ()
    parked: Mapping[str, Any] | None = None
    ladder: Sequence[Mapping[str, Any]] = ()
    tripped: Sequence[Mapping[str, Any]] = ()
    error_code: str | None = None
    error_message: str | None = None
    usage: Usage = field(default_factory=Usage)
    cost_micros: int | None = None
    overhead_micros: int | None = None
    started_at: int | None = None
    ended_at: int | None = None
    trace_id: str | None = None
    is_let_go: bool = False

    @classmethod
    def of(cls, row: Row) -> "Turn":
        return cls(
            id=row["id"],
            tenant_id=row["tenant_id"],
            conversation_id=row["conversation_id"],
            seq=row["seq"],
            status=TurnStatus(row["status"]),
            agent=row["agent"],
            release_id=row["release_id"],
            epoch=row["epoch"],
            created_at=row["created_at"],
            moved_from=row["moved_from"],
            intent=row["intent"],
            confidence=row["confidence"],
            action=row["action"],
            route=json.loads(row["route"]) if row["route"] else None,
            event_seq=row["event_seq"],
            awaiting=row["awaiting"],
            escalation_id=row["escalation_id"],
            roles=tuple(json.loads(row["roles"])) if row["roles"] else (),
            scopes=tuple(json.loads(row["scopes"])) if row["scopes"] else (),
            teams=tuple(json.loads(row["teams"])) if row["teams"] else (),
            parked=json.loads(row["parked"]) if row["parked"] else None,
            ladder=json.loads(row["ladder"]) if row["ladder"] else (),
            tripped=json.loads(row["tripped"]) if row["tripped"] else (),
            error_code=row["error_code"],
            error_message=row["error_message"],
            usage=Usage(row["input_tokens"], row["output_tokens"]),
            cost_micros=row["cost_micros"],
            overhead_micros=row["overhead_micros"],
            started_at=row["started_at"],
            ended_at=row["ended_at"],
            trace_id=row["trace_id"],
            is_let_go=row["owner"] == NOBODY,
        )


@dataclass(frozen=True, slots=True)
class TurnEnd:
    """How a turn ended: all that commit (d) writes besides the answer."""

    status: TurnStatus
    intent: str | None = None
    confidence: float | None = None
    action: str | None = None
    route: Mapping[str, Any] | None = None
    latency_class: str | None = None
    error_code: str | None = None
    error_message: str | None = None
    usage: Usage = field(default_factory=Usage)
    cost_micros: int | None = None
    overhead_micros: int = 0
    event_seq: int = 0
    awaiting: Awaiting | None = None
    failures: int = 0
    escalation_id: str | None = None
    parked: Mapping[str, Any] | None = None
    ladder: Sequence[Mapping[str, Any]] = ()
    tripped: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True, slots=True)
class StoredMessage:
    id: str
    turn_id: str
    turn_seq: int
    position: int
    role: MessageRole
    provenance: Provenance
    content: str
    tool_calls: tuple[ToolCall, ...]
    sources: tuple[str, ...]
    created_at: int

    @classmethod
    def of(cls, row: Row) -> "StoredMessage":
        calls, sources = row["tool_calls"], row["sources"]
        return cls(
            row["id"],
            row["turn_id"],
            row["turn_seq"],
            row["position"],
            row["role"],
            row["provenance"],
            row["content"],
            tuple(ToolCall(**call) for call in json.loads(calls)) if calls else (),
            tuple(json.loads(sources)) if sources else (),
            row["created_at"],
        )


@dataclass(frozen=True, slots=True)
class StoredToolCall:
    """`status` is `intent` (began, outcome not known), `completed`, `failed` or `unknown`."""

    id: str
    turn_id: str
    provider_id: str | None
    name: str
    effect: str
    arguments: str
    status: Literal["intent", "completed", "failed", "unknown"]
    result: str | None
    created_at: int
    ended_at: int | None
    ladder: LadderRecord = ()
    tripped: Sequence[Mapping[str, Any]] = ()

    @property
    def outcome(self) -> Literal["completed", "failed", "unknown"]:
        """How an ended call ended; what has no result is unknown."""
        return self.status if self.status in ("completed", "failed") else "unknown"

    @classmethod
    def of(cls, row: Row) -> "StoredToolCall":
        return cls(
            row["id"],
            row["turn_id"],
            row["provider_id"],
            row["name"],
            row["effect"],
            row["arguments"],
            row["status"],
            row["result"],
            row["created_at"],
            row["ended_at"],
            json.loads(row["ladder"]) if row["ladder"] else (),
            json.loads(row["tripped"]) if row["tripped"] else (),
        )
