"""SQL for escalations."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from sqlalchemy import bindparam, insert

from handrail.core import json
from handrail.core.answers import Handoff
from handrail.core.clock import iso
from handrail.core.ids import new_id
from handrail.db import Batch, Database, Prepared, Row, scoped
from handrail.oversight.escalations.tables import escalation

_e = escalation
_ADD = Prepared(insert(_e))
_FIND = Prepared(scoped(_e).where(_e.c.id == bindparam("id")))
_NEWEST = scoped(_e).where(_e.c.id < bindparam("before")).order_by(_e.c.id.desc()).limit(bindparam("limit"))
_LIST = Prepared(_NEWEST)
_LIST_BY_STATUS = Prepared(_NEWEST.where(_e.c.status == bindparam("status")))
_OF_CONVERSATION = Prepared(scoped(_e).where(_e.c.conversation_id == bindparam("conversation_id")).order_by(_e.c.id))
_UNRESOLVED = Prepared(
    scoped(_e).where(_e.c.conversation_id == bindparam("conversation_id"), _e.c.status != "resolved").limit(1)
)
# Greater than every id in any collation: ids are `esc_` and hex digits.
_NO_BOUND = "esc_g"


class EscalationStatus(StrEnum):
    """Nobody has it yet, somebody has, it is done."""

    OPEN = "open"
    ASSIGNED = "assigned"
    RESOLVED = "resolved"


class _Turn(Protocol):
    """The turn that hands off, as far as it is noted."""

    @property
    def id(self) -> str: ...
    @property
    def tenant_id(self) -> str: ...
    @property
    def conversation_id(self) -> str: ...
    @property
    def agent(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Escalation:
    """One handoff to people."""

    id: str
    tenant_id: str
    conversation_id: str
    turn_id: str
    agent: str
    reason: str
    team: str | None
    summary: Mapping[str, Any]
    status: EscalationStatus
    created_at: int
    updated_at: int

    @classmethod
    def of(cls, turn: _Turn, handoff: Handoff, summary: Mapping[str, Any], at: int) -> "Escalation":
        """A new, open one."""
        return cls(
            id=new_id("esc"),
            tenant_id=turn.tenant_id,
            conversation_id=turn.conversation_id,
            turn_id=turn.id,
            agent=turn.agent,
            reason=handoff.reason,
            team=handoff.team,
            summary=summary,
            status=EscalationStatus.OPEN,
            created_at=at,
            updated_at=at,
        )

    @classmethod
    def stored(cls, row: Row) -> "Escalation":
        return cls(
            id=row["id"],
            tenant_id=row["tenant_id"],
            conversation_id=row["conversation_id"],
            turn_id=row["turn_id"],
            agent=row["agent"],
            reason=row["reason"],
            team=row["team"],
            summary=json.loads(row["summary"]),
            status=EscalationStatus(row["status"]),
            created_at=row["created_at"],
            updated_at=row["updated_at"],
        )

    def body(self) -> dict[str, Any]:
        """As the API shows it."""
        return {
            "id": self.id,
            "object": "escalation",
            "conversation_id": self.conversation_id,
            "turn_id": self.turn_id,
            "agent": self.agent,
            "reason": self.reason,
            "team": self.team,
            "summary": dict(self.summary),
            "status": self.status.value,
            "created_at": iso(self.created_at),
            "updated_at": iso(self.updated_at),
        }


class EscalationStore:
    """The table of escalations."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def open(self, batch: Batch, opened: Escalation) -> None:
        """Note a handoff; it is there once the turn's batch is."""
        batch.add(
            _ADD,
            {
                "id": opened.id,
                "tenant_id": opened.tenant_id,
                "conversation_id": opened.conversation_id,
                "turn_id": opened.turn_id,
                "agent": opened.agent,
                "reason": opened.reason,
                "team": opened.team,
                "summary": json.dumps(opened.summary),
                "status": opened.status.value,
                "created_at": opened.created_at,
                "updated_at": opened.updated_at,
            },
        )

    async def find(self, tenant_id: str, escalation_id: str) -> Escalation | None:
        row = await self._db.fetch_one(_FIND, {"tenant_id": tenant_id, "id": escalation_id})
        return Escalation.stored(row) if row is not None else None

    async def is_open(self, tenant_id: str, conversation_id: str) -> bool:
        """Whether people have this conversation, or will take it up."""
        wanted = {"tenant_id": tenant_id, "conversation_id": conversation_id}
        return await self._db.fetch_one(_UNRESOLVED, wanted) is not None

    async def of_conversation(self, tenant_id: str, conversation_id: str) -> Sequence[Escalation]:
        """All of one conversation, oldest first."""
        rows = await self._db.scan(_OF_CONVERSATION, {"tenant_id": tenant_id, "conversation_id": conversation_id})
        return [Escalation.stored(row) for row in rows]

    async def list(
        self, tenant_id: str, status: EscalationStatus | None = None, *, before: str | None = None, limit: int = 50
    ) -> Sequence[Escalation]:
        """The tenant's escalations, newest first; `before` is the last id of the page before."""
        parameters: dict[str, Any] = {"tenant_id": tenant_id, "before": before or _NO_BOUND, "limit": limit}
        if status is None:
            rows = await self._db.scan(_LIST, parameters)
        else:
            rows = await self._db.scan(_LIST_BY_STATUS, {**parameters, "status": status.value})
        return [Escalation.stored(row) for row in rows]
