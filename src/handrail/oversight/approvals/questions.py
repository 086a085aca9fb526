"""Questions to whoever asked for an action: an approver asks before they decide, the requester answers once.

Asking decides nothing and stops nothing: the approval stays pending, anybody entitled may decide it meanwhile, and its
time runs on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, insert, update

from handrail.core.clock import iso
from handrail.db import Batch, Database, Prepared, Row, now, scoped
from handrail.oversight.approvals.records import Approval, Vote
from handrail.oversight.approvals.tables import approval_question

_q = approval_question
_ADD = Prepared(insert(_q))
_ANSWER = Prepared(
    update(_q)
    .where(_q.c.tenant_id == bindparam("tenant_id"), _q.c.id == bindparam("id_"), _q.c.answer.is_(None))
    .values(answer=bindparam("answer_"), answered_at=now())
)
_OF_APPROVAL = Prepared(scoped(_q).where(_q.c.approval_id == bindparam("approval_id")).order_by(_q.c.id))
_OF_TURN = Prepared(scoped(_q).where(_q.c.turn_id == bindparam("turn_id")).order_by(_q.c.id))


@dataclass(frozen=True, slots=True)
class Question:
    """What an approver wants to know, and what they were told."""

    id: str
    tenant_id: str
    approval_id: str
    turn_id: str
    asked_by: str
    question: str
    asked_at: int
    answer: str | None = None
    answered_at: int | None = None

    @classmethod
    def of(cls, row: Row) -> "Question":
        return cls(**{name: row[name] for name in cls.__slots__})

    def body(self) -> dict[str, Any]:
        """As the API shows it to both sides; who asked stays with the approvers."""
        return {
            "id": self.id,
            "object": "approval_question",
            "approval_id": self.approval_id,
            "question": self.question,
            "asked_at": iso(self.asked_at),
            "answer": self.answer,
            "answered_at": None if self.answered_at is None else iso(self.answered_at),
        }


def asked(approval: Approval, vote: Vote) -> Question:
    """The question that a vote `info` puts."""
    call = approval.call
    return Question(vote.id, call.tenant_id, approval.id, call.turn_id, vote.voter, vote.reason or "", vote.created_at)


class QuestionStore:
    """The table of questions."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def add(self, batch: Batch, question: Question) -> None:
        batch.add(_ADD, {name: getattr(question, name) for name in Question.__slots__})

    def answer(self, batch: Batch, question: Question, text: str) -> None:
        """Keep the first answer; `Conflict` for a second one."""
        key = {"tenant_id": question.tenant_id, "approval_id": question.approval_id, "id_": question.id}
        batch.add(_ANSWER, key | {"answer_": text}, expect=1)

    async def of_approval(self, tenant_id: str, approval_id: str) -> Sequence[Question]:
        rows = await self._db.fetch_all(_OF_APPROVAL, {"tenant_id": tenant_id, "approval_id": approval_id})
        return [Question.of(row) for row in rows]

    async def of_turn(self, tenant_id: str, turn_id: str) -> Sequence[Question]:
        rows = await self._db.fetch_all(_OF_TURN, {"tenant_id": tenant_id, "turn_id": turn_id})
        return [Question.of(row) for row in rows]
