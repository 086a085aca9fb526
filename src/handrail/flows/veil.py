"""What people read of somebody else's conversation: handles where identifiers stand, unless they may read those too.

Nothing is stored for it: a handle is made anew for every reader, and is the one that the model reads.
"""

from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from handrail.core import events
from handrail.core.errors import UsageError
from handrail.core.events import Event
from handrail.core.principal import Principal, Role
from handrail.flows.audit import read_by_staff
from handrail.flows.services import Services
from handrail.oversight.approvals import Approval, Question, Vote
from handrail.protection.audit import AuditEntry
from handrail.protection.auth import owns, reads_personal_data
from handrail.protection.privacy import Tokens, unrevealed
from handrail.serving.conversations import Turn

T = TypeVar("T")


class Veil:
    """Over one conversation, before one reader; without tokens it hides nothing."""

    __slots__ = ("_tokens",)

    def __init__(self, tokens: Tokens | None = None) -> None:
        self._tokens = tokens

    @property
    def hides(self) -> bool:
        return self._tokens is not None

    def over(self, value: T) -> T:
        """The same text or JSON value with handles in every text."""
        return value if self._tokens is None else self._tokens.hide_all(value)

    def over_approval(self, approval: Approval) -> Approval:
        """As it is shown; its fingerprint stays that of the call itself."""
        if self._tokens is None:
            return approval
        return replace(
            approval,
            call=replace(approval.call, arguments=self.over(approval.call.arguments)),
            original_arguments=self.over(approval.original_arguments),
            reason=self.over(approval.reason),
            decision_reason=self.over(approval.decision_reason),
        )

    def over_vote(self, vote: Vote) -> Vote:
        return vote if self._tokens is None else replace(vote, reason=self.over(vote.reason), diff=self.over(vote.diff))

    def over_question(self, asked: Question) -> Question:
        if self._tokens is None:
            return asked
        return replace(asked, question=self.over(asked.question), answer=self.over(asked.answer))


def veil_of(services: Services, reader: Principal, tenant_id: str, conversation_id: str, subject: str) -> Veil:
    """What stands between this reader and a conversation of this subject."""
    if owns(reader, tenant_id, subject) or reads_personal_data(reader):
        return Veil()
    return Veil(services.privacy.tokens(tenant_id, conversation_id))


def veil_of_approval(services: Services, reader: Principal, approval: Approval) -> Veil:
    call = approval.call
    return veil_of(services, reader, call.tenant_id, call.conversation_id, call.requester)


def seen_by(services: Services, reader: Principal, approval: Approval) -> Approval:
    """An approval as this reader may see it."""
    return veil_of_approval(services, reader, approval).over_approval(approval)


async def veil_of_turn(services: Services, reader: Principal, turn: Turn) -> Veil:
    """What stands between this reader and a turn; that staff look at it is recorded."""
    if not reader.roles - {Role.END_USER}:
        # What an end user was let see is their own.
        return Veil()
    conversation = await services.conversations.find(turn.tenant_id, turn.conversation_id)
    read_by_staff(services, reader, conversation)
    return veil_of(services, reader, conversation.tenant_id, conversation.id, conversation.subject)


def note_values_shown(services: Services, reader: Principal, approval: Approval) -> None:
    """Somebody who may read values of others looks at an action that has some."""
    call = approval.call
    if owns(reader, call.tenant_id, call.requester) or not reads_personal_data(reader):
        return
    hidden = services.privacy.tokens(call.tenant_id, call.conversation_id).hide_all(call.arguments)
    if hidden == call.arguments:
        return
    services.audit.note(
        AuditEntry(
            call.tenant_id,
            "personal.read",
            "done",
            f"approval:{approval.id}",
            reader,
            subject=call.requester,
            conversation_id=call.conversation_id,
            release_id=call.release_id,
        )
    )


async def veiled(batches: AsyncIterator[list[Event]], veil: Veil) -> AsyncIterator[list[Event]]:
    """A turn's events behind a veil. The answer comes whole, when it is complete: its pieces may cut a value in two."""
    async for batch in batches:
        shown = [replace(each, data=veil.over(dict(each.data))) for each in batch if each.name != events.MESSAGE_DELTA]
        if shown:
            yield shown


def for_requester(services: Services, approval: Approval, text: str | None) -> str | None:
    """An approver's words as the user who asked reads them: with values where the approver was shown handles."""
    if not text:
        return text
    tokens = services.privacy.tokens(approval.call.tenant_id, approval.call.conversation_id)
    tokens.hide_all(approval.call.arguments)
    return tokens.reveal(text)


async def meant(
    services: Services, approval: Approval, written: Mapping[str, Any], personal: Collection[str]
) -> Mapping[str, Any]:
    """Arguments that an approver wrote, who may have been shown handles: what was left as shown is what it was, and in
    parameters that are personal a handle is its value.

    Raises:
        UsageError: a handle in them is none of this conversation.
    """
    call, original = approval.call, approval.call.arguments
    tokens = services.privacy.tokens(call.tenant_id, call.conversation_id)
    shown = tokens.hide_all(original)
    unknown = [each for each in unrevealed(written) if not tokens.knows(each)]
    tokens.learn(await services.privacy.vault.find(call.tenant_id, call.conversation_id, unknown))
    kept = {name for name, value in written.items() if name in original and value in (shown[name], original[name])}
    for name, value in written.items():
        strange = [each for each in unrevealed(value) if not tokens.knows(each)]
        if strange and name not in kept:
            raise UsageError(f"{strange[0]!r} in {name!r} is no handle of this conversation; write the value itself")
    return {
        name: original[name] if name in kept else tokens.reveal_all(value) if name in personal else value
        for name, value in written.items()
    }
