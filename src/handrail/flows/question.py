"""The story of a question: an approver asks the requester, whose conversation shows it, and whose answer comes back.

Both are stored with the approval and, while its turn is parked, in that turn's transcript, so that every client of the
conversation sees them. Nothing waits for an answer: the conversation goes on, and the approval may be decided any time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from handrail.core.clock import iso
from handrail.core.errors import NotFound, UsageError
from handrail.core.messages import Provenance
from handrail.core.principal import Principal
from handrail.db import Batch, Conflict
from handrail.flows.audit import approval_voted
from handrail.flows.conversations import require_own
from handrail.flows.services import Services
from handrail.flows.wording import approver_asks
from handrail.oversight.approvals import Approval, ApprovalStatus, Question, Recorded
from handrail.protection.guardrails import admit_text
from handrail.serving.conversations import Turn, TurnStatus

MOST_CHARACTERS = 2000


class QuestionClosed(UsageError):
    """It is answered, or what it was about is decided."""

    code = "conflict"


@dataclass(frozen=True, slots=True)
class _Bounded:
    max_characters: int = MOST_CHARACTERS


@dataclass(frozen=True, slots=True)
class Waiting:
    """An action of a turn that waits or waited for people, as the user who asked for it may see it."""

    approval: Approval
    questions: Sequence[Question]
    at: int

    @property
    def is_pending(self) -> bool:
        return self.approval.status_at(self.at) is ApprovalStatus.PENDING

    def body(self) -> dict[str, Any]:
        """Without who decides: the user is told what was decided and why, not by whom."""
        approval = self.approval
        return {
            "id": approval.id,
            "object": "turn_approval",
            "tool": approval.call.tool,
            "arguments": dict(approval.call.arguments),
            "status": approval.status_at(self.at).value,
            "expires_at": iso(approval.expires_at),
            "decision_reason": approval.decision_reason,
            "questions": [each.body() for each in self.questions],
        }


async def waiting_of(services: Services, turn: Turn) -> list[Waiting]:
    """What a turn asked people for, in the order it was asked."""
    found = await services.approvals.of_turn(turn.tenant_id, turn.id)
    if not found:
        return []
    questions = await services.approvals.questions.of_turn(turn.tenant_id, turn.id)
    at = await services.approvals.now()
    return [Waiting(each, [one for one in questions if one.approval_id == each.id], at) for each in found]


async def waiting_in(services: Services, tenant_id: str, conversation_id: str) -> dict[str, list[Waiting]]:
    """By turn, what a conversation waits for now."""
    pending = await services.approvals.pending_in(tenant_id, conversation_id)
    waiting: dict[str, list[Waiting]] = {}
    for turn_id in dict.fromkeys(each.call.turn_id for each in pending):
        turn = await services.conversations.find_turn(tenant_id, turn_id)
        if turn is not None:
            waiting[turn_id] = [each for each in await waiting_of(services, turn) if each.is_pending]
    return waiting


async def ask_requester(services: Services, principal: Principal, outcome: Recorded) -> None:
    """Record the question, and let the conversation show it; `Conflict` when somebody was faster."""
    call = outcome.before.call
    parked = await _parked(services, call.tenant_id, call.turn_id)
    async with services.db.batch() as batch:
        services.approvals.record(batch, outcome)
        approval_voted(services, batch, principal, outcome.after, outcome.vote.decision)
        if parked is not None:
            word = approver_asks(outcome.vote.reason or "")
            parked.say(services, batch, "assistant", f"{parked.answer}\n\n{word}", parked.provenance)


async def answer_question(
    services: Services, principal: Principal, turn_id: str, question_id: str, text: str
) -> Question:
    """Take the requester's answer, once.

    Raises:
        NotFound: no such turn or question for this principal.
        PermissionDenied: staff who may read the conversation, but whose it is not.
        InvalidMessage: nothing is said, or too much.
        QuestionClosed: it is answered already, or what it was about is decided.
    """
    turn = await services.conversations.require_turn(principal, turn_id)
    await require_own(services, principal, turn.conversation_id)
    said = admit_text(text, _Bounded())
    waiting, question = await _find(services, turn, question_id)
    if question.answer is not None or not waiting.is_pending:
        state = "answered" if question.answer is not None else waiting.approval.status_at(waiting.at).value
        raise QuestionClosed(f"question {question_id!r} needs no answer any more: it is {state}", param="question_id")
    parked = await _parked(services, turn.tenant_id, turn.id)
    try:
        async with services.db.batch() as batch:
            services.approvals.questions.answer(batch, question, said)
            if parked is not None:
                parked.say(services, batch, "user", said, "user")
    except Conflict as error:
        raise QuestionClosed("this changed just now; look at it again", param="question_id") from error
    return (await _find(services, turn, question_id))[1]


@dataclass(frozen=True, slots=True)
class _Parked:
    """A turn that waits for people, and where its transcript goes on."""

    turn: Turn
    position: int
    answer: str
    provenance: Provenance

    def say(self, services: Services, batch: Batch, role: str, content: str, provenance: Provenance) -> None:
        """Add a message; the batch conflicts when the turn goes on meanwhile."""
        services.conversations.still_parked(batch, self.turn)
        at = services.clock.micros()
        services.conversations.add_message(batch, self.turn, self.position, role, content, provenance, at=at)


async def _parked(services: Services, tenant_id: str, turn_id: str) -> _Parked | None:
    turn = await services.conversations.find_turn(tenant_id, turn_id)
    if turn is None or turn.status is not TurnStatus.REQUIRES_ACTION:
        return None
    messages = await services.conversations.turn_messages(tenant_id, turn_id)
    said = next((each for each in reversed(messages) if each.role == "assistant"), None)
    position = max(each.position for each in messages) + 1
    return _Parked(turn, position, said.content if said else "", said.provenance if said else "agent")


async def _find(services: Services, turn: Turn, question_id: str) -> tuple[Waiting, Question]:
    for waiting in await waiting_of(services, turn):
        for question in waiting.questions:
            if question.id == question_id:
                return waiting, question
    raise NotFound(f"there is no question {question_id!r} in turn {turn.id!r}", param="question_id")
