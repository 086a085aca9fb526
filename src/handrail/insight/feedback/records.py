"""Each thing that is said, as it is stored and as the API shows it."""

from dataclasses import dataclass
from typing import Any, Literal

from handrail.core.clock import iso
from handrail.db import Row
from handrail.insight.feedback.policy import FeedbackKind, Sample

Source = Literal["user", "staff"]
_SAID = ("intent_correct", "hallucination", "action_correct", "resolved")


@dataclass(frozen=True, slots=True)
class Feedback:
    """One person's word on a turn or a conversation; `replaced_at` once they changed it."""

    id: str
    tenant_id: str
    conversation_id: str
    turn_id: str | None
    agent: str
    release_id: str
    intent: str | None
    kind: FeedbackKind
    score: int | None
    comment: str | None
    source: Source
    given_by: str
    created_at: int
    replaced_at: int | None = None

    @property
    def about(self) -> str:
        return self.turn_id or self.conversation_id

    def says(self, score: int | None, comment: str | None) -> bool:
        """Whether it is these very words."""
        return (self.score, self.comment) == (score, comment)

    @classmethod
    def stored(cls, row: Row) -> "Feedback":
        return cls(**{name: row[name] for name in cls.__slots__})  # pyright: ignore[reportCallIssue]

    def body(self) -> dict[str, Any]:
        """As the API shows it."""
        return {
            "id": self.id,
            "object": "feedback",
            "conversation_id": self.conversation_id,
            "turn_id": self.turn_id,
            "agent": self.agent,
            "release_id": self.release_id,
            "intent": self.intent,
            "kind": self.kind,
            "score": self.score,
            "comment": self.comment,
            "source": self.source,
            "given_by": self.given_by,
            "created_at": iso(self.created_at),
            "replaced_at": iso(self.replaced_at) if self.replaced_at is not None else None,
        }


@dataclass(frozen=True, slots=True)
class ValueEvent:
    """Something of worth that came of a conversation: an order kept, a contract renewed."""

    id: str
    tenant_id: str
    conversation_id: str
    turn_id: str | None
    agent: str
    release_id: str
    intent: str | None
    name: str
    amount_micros: int | None
    currency: str | None
    key: str
    recorded_by: str
    created_at: int

    def is_same(self, other: "ValueEvent") -> bool:
        """Whether both say the same, whoever said it and when."""
        return (self.turn_id, self.name, self.amount_micros, self.currency) == (
            other.turn_id,
            other.name,
            other.amount_micros,
            other.currency,
        )

    @classmethod
    def stored(cls, row: Row) -> "ValueEvent":
        return cls(**{name: row[name] for name in cls.__slots__})  # pyright: ignore[reportCallIssue]

    def body(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": "value_event",
            "conversation_id": self.conversation_id,
            "turn_id": self.turn_id,
            "agent": self.agent,
            "release_id": self.release_id,
            "intent": self.intent,
            "name": self.name,
            "amount_micros": self.amount_micros,
            "currency": self.currency,
            "recorded_by": self.recorded_by,
            "created_at": iso(self.created_at),
        }


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a reviewer found of one turn, and how likely the turn was to be looked at."""

    id: str
    tenant_id: str
    conversation_id: str
    turn_id: str
    agent: str
    release_id: str
    intent: str | None
    intent_correct: bool | None
    hallucination: bool | None
    action_correct: bool | None
    resolved: bool | None
    sample: Sample
    inclusion_probability: float
    reviewer: str
    created_at: int

    @classmethod
    def stored(cls, row: Row) -> "Verdict":
        values: dict[str, Any] = {name: row[name] for name in cls.__slots__}
        values |= {name: None if row[name] is None else bool(row[name]) for name in _SAID}
        return cls(**values)

    def body(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": "review_verdict",
            "conversation_id": self.conversation_id,
            "turn_id": self.turn_id,
            "agent": self.agent,
            "release_id": self.release_id,
            "intent": self.intent,
            "intent_correct": self.intent_correct,
            "hallucination": self.hallucination,
            "action_correct": self.action_correct,
            "resolved": self.resolved,
            "sample": self.sample,
            "inclusion_probability": self.inclusion_probability,
            "reviewer": self.reviewer,
            "created_at": iso(self.created_at),
        }


@dataclass(frozen=True, slots=True)
class CacheVerification:
    """Whether an answer from the cache was right for what was asked."""

    id: str
    tenant_id: str
    hit: str
    correct: bool
    verified_by: str
    created_at: int

    def body(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": "cache_verification",
            "hit": self.hit,
            "correct": self.correct,
            "verified_by": self.verified_by,
            "created_at": iso(self.created_at),
        }
