"""An approval and what belongs to it, as values."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

from handrail.core import json
from handrail.core.clock import iso
from handrail.core.principal import Role
from handrail.db import Row


class Risk(StrEnum):
    """How bad it would be to be wrong; in rising order."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        return list(Risk).index(self)


class ApprovalStatus(StrEnum):
    """Only `pending` ever changes, and only once."""

    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"


Decision = Literal["approve", "reject", "edit", "info"]


@dataclass(frozen=True, slots=True)
class Capacity:
    """In which roles and teams somebody decides; a delegate has those of the person `on_behalf_of` whom they act."""

    roles: frozenset[Role] = frozenset()
    teams: frozenset[str] = frozenset()
    on_behalf_of: str | None = None

    def as_json(self) -> dict[str, Any]:
        return {"roles": sorted(self.roles), "teams": sorted(self.teams), "on_behalf_of": self.on_behalf_of}

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> "Capacity":
        return cls(frozenset(map(Role, data["roles"])), frozenset(data["teams"]), data["on_behalf_of"])


@dataclass(frozen=True, slots=True)
class Clause:
    """What one rule asks for: this many votes of people in one of these roles or teams."""

    rule: str
    votes: int
    roles: frozenset[Role]
    teams: frozenset[str] = frozenset()
    escalate_to: str | None = None

    def accepts(self, capacity: Capacity) -> bool:
        return not (self.roles.isdisjoint(capacity.roles) and self.teams.isdisjoint(capacity.teams))

    def as_json(self) -> dict[str, Any]:
        return {
            "rule": self.rule,
            "votes": self.votes,
            "roles": sorted(self.roles),
            "teams": sorted(self.teams),
            "escalate_to": self.escalate_to,
        }

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> "Clause":
        roles, teams = frozenset(map(Role, data["roles"])), frozenset[str](data["teams"])
        return cls(data["rule"], data["votes"], roles, teams, data["escalate_to"])


@dataclass(frozen=True, slots=True)
class Approvers:
    """Who may decide: every clause is met on its own."""

    clauses: tuple[Clause, ...]
    requester_may_approve: bool = False

    def as_json(self) -> dict[str, Any]:
        return {
            "clauses": [clause.as_json() for clause in self.clauses],
            "requester_may_approve": self.requester_may_approve,
        }

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> "Approvers":
        return cls(tuple(map(Clause.of, data["clauses"])), data["requester_may_approve"])


@dataclass(frozen=True, slots=True)
class Requirement:
    """What all matching rules together ask for before a call may run."""

    risk: Risk
    clauses: tuple[Clause, ...]
    requester_may_approve: bool
    expires_after_seconds: int
    reason: str
    remind_after_seconds: int | None = None
    escalate_after_seconds: int | None = None

    @property
    def rules(self) -> tuple[str, ...]:
        """Names of the rules that matched, each once."""
        return tuple(dict.fromkeys(clause.rule for clause in self.clauses))

    @property
    def votes_needed(self) -> int:
        """The least number of people it takes; more when nobody fits all clauses at once."""
        return max(clause.votes for clause in self.clauses)


@dataclass(frozen=True, slots=True)
class GuardedCall:
    """The tool call that waits: all that a decision is bound to. `arguments` are decoded JSON."""

    tenant_id: str
    conversation_id: str
    turn_id: str
    tool_call_id: str
    agent: str
    release_id: str
    requester: str
    tool: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Vote:
    """What one person said. It counts while the approval still has this `revision` and `fingerprint`."""

    id: str
    tenant_id: str
    approval_id: str
    voter: str
    decision: Decision
    fingerprint: str
    revision: int
    capacity: Capacity
    reason: str | None
    diff: Mapping[str, Any] | None
    created_at: int

    @classmethod
    def of(cls, row: Row) -> "Vote":
        return cls(
            id=row["id"],
            tenant_id=row["tenant_id"],
            approval_id=row["approval_id"],
            voter=row["voter"],
            decision=row["decision"],
            fingerprint=row["fingerprint"],
            revision=row["revision"],
            capacity=Capacity.of(json.loads(row["capacity"])),
            reason=row["reason"],
            diff=json.loads(row["diff"]) if row["diff"] else None,
            created_at=row["created_at"],
        )

    def body(self) -> dict[str, Any]:
        """As the API shows it."""
        return {
            "id": self.id,
            "object": "approval_vote",
            "voter": self.voter,
            "on_behalf_of": self.capacity.on_behalf_of,
            "decision": self.decision,
            "reason": self.reason,
            "diff": self.diff,
            "created_at": iso(self.created_at),
        }


@dataclass(frozen=True, slots=True)
class Approval:
    """A tool call that waits for people, or did.

    `fingerprint` binds every decision to the call as it stands; `revision` counts edits, `version` every change.
    `decided_by` is who gave the last word; nobody when time ran out.
    """

    id: str
    call: GuardedCall
    original_arguments: Mapping[str, Any] | None
    fingerprint: str
    rules: tuple[str, ...]
    risk: Risk
    votes_needed: int
    approvers: Approvers
    reason: str
    status: ApprovalStatus
    expires_at: int
    created_at: int
    revision: int = 0
    version: int = 0
    remind_at: int | None = None
    reminded_at: int | None = None
    escalate_at: int | None = None
    escalated_at: int | None = None
    decided_at: int | None = None
    decided_by: str | None = None
    decision_reason: str | None = None
    resumed_at: int | None = None

    @classmethod
    def of(cls, row: Row) -> "Approval":
        original = row["original_arguments"]
        return cls(
            id=row["id"],
            call=_call_of(row),
            original_arguments=json.loads(original) if original else None,
            fingerprint=row["fingerprint"],
            rules=tuple(json.loads(row["rules"])),
            risk=Risk(row["risk"]),
            votes_needed=row["votes_needed"],
            approvers=Approvers.of(json.loads(row["approvers"])),
            reason=row["reason"],
            status=ApprovalStatus(row["status"]),
            expires_at=row["expires_at"],
            created_at=row["created_at"],
            revision=row["revision"],
            version=row["version"],
            remind_at=row["remind_at"],
            reminded_at=row["reminded_at"],
            escalate_at=row["escalate_at"],
            escalated_at=row["escalated_at"],
            decided_at=row["decided_at"],
            decided_by=row["decided_by"],
            decision_reason=row["decision_reason"],
            resumed_at=row["resumed_at"],
        )

    def status_at(self, now: int) -> ApprovalStatus:
        """What time says goes before what the row says: nobody may have noted the expiry yet."""
        if self.status is ApprovalStatus.PENDING and now >= self.expires_at:
            return ApprovalStatus.EXPIRED
        return self.status

    def body(self, now: int) -> dict[str, Any]:
        """As the API shows it at this moment."""
        return {
            "id": self.id,
            "object": "approval",
            "status": self.status_at(now).value,
            "conversation_id": self.call.conversation_id,
            "turn_id": self.call.turn_id,
            "tool_call_id": self.call.tool_call_id,
            "agent": self.call.agent,
            "release_id": self.call.release_id,
            "requester": self.call.requester,
            "tool": self.call.tool,
            "arguments": dict(self.call.arguments),
            "original_arguments": self.original_arguments,
            "fingerprint": self.fingerprint,
            "rules": list(self.rules),
            "risk": self.risk.value,
            "votes_needed": self.votes_needed,
            "approvers": self.approvers.as_json(),
            "reason": self.reason,
            "expires_at": iso(self.expires_at),
            "escalated_at": _iso(self.escalated_at),
            "decided_at": _iso(self.decided_at),
            "decided_by": self.decided_by,
            "decision_reason": self.decision_reason,
            "resumed_at": _iso(self.resumed_at),
            "created_at": iso(self.created_at),
        }


def _call_of(row: Row) -> GuardedCall:
    return GuardedCall(
        tenant_id=row["tenant_id"],
        conversation_id=row["conversation_id"],
        turn_id=row["turn_id"],
        tool_call_id=row["tool_call_id"],
        agent=row["agent"],
        release_id=row["release_id"],
        requester=row["requester"],
        tool=row["tool"],
        arguments=json.loads(row["arguments"]),
    )


def _iso(micros: int | None) -> str | None:
    return None if micros is None else iso(micros)
