"""What is said about a conversation: by its user, by staff, by reviewers, and by systems that know what it was worth.

Stored with what changes the measures of the conversation, in one batch; staff's words are audited with it.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from handrail.core.errors import NotFound
from handrail.core.ids import new_id
from handrail.core.principal import Principal, Role
from handrail.db import Batch, Conflict
from handrail.flows.audit import read_by_staff
from handrail.flows.services import Services
from handrail.insight.feedback import (
    CacheVerification,
    Feedback,
    FeedbackKind,
    Sample,
    ValueEvent,
    Verdict,
    require_amount,
    require_score,
    require_verdict,
)
from handrail.protection.audit import AuditEntry
from handrail.protection.auth import owns, require_role
from handrail.protection.privacy import find_personal_data
from handrail.serving.conversations import Conversation, IdempotencyMismatch, Turn

READERS = (Role.VIEWER, Role.REVIEWER, Role.APPROVER, Role.OPERATOR, Role.ADMIN)
WRITERS = (Role.REVIEWER, Role.OPERATOR, Role.ADMIN)
REVIEWERS = (Role.REVIEWER, Role.ADMIN)
RECORDERS = (Role.OPERATOR, Role.ADMIN)
# Two posts of the same hand at the same moment; more than that is no accident.
ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class FeedbackWanted:
    """What somebody says of a conversation, or of one turn of it."""

    kind: FeedbackKind
    score: int | None = None
    comment: str | None = None
    turn_id: str | None = None


@dataclass(frozen=True, slots=True)
class EventWanted:
    """What came of a conversation; the same key again is the same event."""

    name: str
    key: str
    amount_micros: int | None = None
    currency: str | None = None
    turn_id: str | None = None


@dataclass(frozen=True, slots=True)
class VerdictWanted:
    """What a reviewer found of one turn."""

    turn_id: str
    sample: Sample
    inclusion_probability: float
    intent_correct: bool | None = None
    hallucination: bool | None = None
    action_correct: bool | None = None
    resolved: bool | None = None


async def give_feedback(
    services: Services, principal: Principal, conversation_id: str, wanted: FeedbackWanted
) -> tuple[Feedback, bool]:
    """Take a person's word; whether it is new. The same word again changes nothing, another one replaces it.

    Raises:
        NotFound: there is no such conversation, or turn of it, for them.
        PermissionDenied: it is another user's, and they are not of the staff who may.
        InvalidFeedback: it is not on its scale.
        RateLimited: they say too much.
    """
    conversation = await services.conversations.require(principal, conversation_id)
    is_own = owns(principal, conversation.tenant_id, conversation.subject)
    if not is_own:
        require_role(principal, *WRITERS)
    require_score(wanted.kind, wanted.score, wanted.comment)
    await services.feedback_rates.require(principal)
    turn = await _turn(services, conversation, wanted.turn_id)
    for attempt in range(ATTEMPTS):
        about = wanted.turn_id or conversation.id
        known = await services.feedback.in_force(conversation.tenant_id, about, wanted.kind, principal.subject)
        if known is not None and known.says(wanted.score, wanted.comment):
            return known, False
        given = _given(conversation, turn, principal, wanted, services.clock.micros())
        try:
            async with services.db.batch() as batch:
                services.feedback.give(batch, given, instead_of=known)
                _changed(services, batch, conversation, given.created_at)
                if not is_own:
                    details = (("kind", given.kind), ("feedback_id", given.id))
                    _audit(services, batch, conversation, principal, "feedback.given", details)
        except Conflict:
            if attempt == ATTEMPTS - 1:
                raise
            continue
        services.metrics.insight.feedback(conversation.agent, given.kind, given.score, given.source)
        return given, True
    raise AssertionError("the last attempt returns or raises")


async def feedback_of(services: Services, principal: Principal, conversation_id: str) -> list[dict[str, Any]]:
    """What was said of a conversation, oldest first: its user sees their own words, staff see all without names and
    numbers in them."""
    conversation = await services.conversations.require(principal, conversation_id)
    found = await services.feedback.of_conversation(conversation.tenant_id, conversation.id)
    if not principal.has_role(*READERS):
        return [each.body() for each in found if each.given_by == principal.subject]
    read_by_staff(services, principal, conversation)
    return [each.body() for each in await asyncio.to_thread(_all_redacted, found)]


async def newest_feedback(
    services: Services, principal: Principal, kind: FeedbackKind | None, *, before: str | None, limit: int
) -> Sequence[Feedback]:
    """What holds now in the tenant, newest first, redacted; for staff."""
    require_role(principal, *READERS)
    found = await services.feedback.newest(principal.tenant_id, kind, before=before, limit=limit)
    services.audit.note(AuditEntry(principal.tenant_id, "feedback.listed", "done", "feedback:newest", principal))
    return await asyncio.to_thread(_all_redacted, found)


async def record_event(
    services: Services, principal: Principal, conversation_id: str, wanted: EventWanted
) -> tuple[ValueEvent, bool]:
    """Take a value that came of a conversation; whether it is new.

    Raises:
        NotFound: there is no such conversation, or turn of it, in their tenant.
        PermissionDenied: only operators and admins record values.
        InvalidFeedback: an amount without currency, or in another one than the deployment's.
        IdempotencyMismatch: the key has made another event.
    """
    require_role(principal, *RECORDERS)
    conversation = await services.conversations.require(principal, conversation_id)
    require_amount(wanted.amount_micros, wanted.currency, services.feedback_rules)
    turn = await _turn(services, conversation, wanted.turn_id)
    event = _event(conversation, turn, principal, wanted, services.clock.micros())
    known = await services.feedback.event(conversation.tenant_id, conversation.id, wanted.key)
    if known is None:
        try:
            async with services.db.batch() as batch:
                services.feedback.record_event(batch, event)
                _changed(services, batch, conversation, event.created_at)
                details = (("name", event.name), ("event_id", event.id))
                _audit(services, batch, conversation, principal, "value.recorded", details)
        except Conflict:
            known = await services.feedback.event(conversation.tenant_id, conversation.id, wanted.key)
            if known is None:
                raise
        else:
            services.metrics.insight.value_event(conversation.agent)
            return event, True
    if not known.is_same(event):
        raise IdempotencyMismatch(
            f"the key {wanted.key!r} has made event {known.id!r} of this conversation, which says something else; "
            "send a new key for a new event"
        )
    return known, False


async def give_verdict(
    services: Services, principal: Principal, conversation_id: str, wanted: VerdictWanted
) -> Verdict:
    """Take a reviewer's verdict on one turn; an earlier one of theirs is replaced and stays on record.

    Raises:
        NotFound: there is no such conversation, or turn of it, in their tenant.
        PermissionDenied: not a reviewer.
        InvalidFeedback: it says nothing.
    """
    require_role(principal, *REVIEWERS)
    conversation = await services.conversations.require(principal, conversation_id)
    turn = await _turn(services, conversation, wanted.turn_id)
    assert turn is not None, "a verdict names its turn"
    require_verdict(wanted.intent_correct, wanted.hallucination, wanted.action_correct, wanted.resolved)
    verdict = Verdict(
        id=new_id("ver"),
        tenant_id=conversation.tenant_id,
        conversation_id=conversation.id,
        turn_id=turn.id,
        agent=turn.agent,
        release_id=turn.release_id,
        intent=turn.intent,
        intent_correct=wanted.intent_correct,
        hallucination=wanted.hallucination,
        action_correct=wanted.action_correct,
        resolved=wanted.resolved,
        sample=wanted.sample,
        inclusion_probability=wanted.inclusion_probability,
        reviewer=principal.subject,
        created_at=services.clock.micros(),
    )
    async with services.db.batch() as batch:
        services.feedback.judge(batch, verdict)
        _changed(services, batch, conversation, verdict.created_at)
        details = (("turn_id", turn.id), ("verdict_id", verdict.id))
        _audit(services, batch, conversation, principal, "verdict.given", details)
    services.metrics.insight.verdict(turn.agent, verdict.sample)
    return verdict


async def verify_hit(services: Services, principal: Principal, hit: str, *, correct: bool) -> CacheVerification:
    """Take a reviewer's word on an answer that came from the cache; it replaces an earlier one on the same hit.

    Raises:
        PermissionDenied: not a reviewer.
    """
    require_role(principal, *REVIEWERS)
    at = services.clock.micros()
    verification = CacheVerification(new_id("cav"), principal.tenant_id, hit, correct, principal.subject, at)
    async with services.db.batch() as batch:
        services.feedback.verify(batch, verification)
        target, details = f"verification:{verification.id}", (("correct", correct),)
        entry = AuditEntry(principal.tenant_id, "cache.verified", "done", target, principal, details=details)
        services.audit.record(batch, entry)
    services.metrics.insight.cache_verified(correct)
    return verification


def redacted(given: Feedback) -> Feedback:
    """Without what tells of a person in the words."""
    if given.comment is None:
        return given
    text = given.comment
    for span in reversed(find_personal_data(text)):
        text = f"{text[: span.start]}[{span.kind.lower()}]{text[span.end :]}"
    return replace(given, comment=text)


def _all_redacted(found: Sequence[Feedback]) -> list[Feedback]:
    return [redacted(each) for each in found]


async def _turn(services: Services, conversation: Conversation, turn_id: str | None) -> Turn | None:
    if turn_id is None:
        return None
    turn = await services.conversations.find_turn(conversation.tenant_id, turn_id)
    if turn is None or turn.conversation_id != conversation.id:
        raise NotFound(f"conversation {conversation.id!r} has no turn {turn_id!r}", param="turn_id")
    return turn


def _given(
    conversation: Conversation, turn: Turn | None, principal: Principal, wanted: FeedbackWanted, at: int
) -> Feedback:
    is_own = owns(principal, conversation.tenant_id, conversation.subject)
    return Feedback(
        id=new_id("fb"),
        tenant_id=conversation.tenant_id,
        conversation_id=conversation.id,
        turn_id=wanted.turn_id,
        agent=conversation.agent,
        release_id=turn.release_id if turn else conversation.release_id,
        intent=turn.intent if turn else None,
        kind=wanted.kind,
        score=wanted.score,
        comment=wanted.comment,
        source="user" if is_own else "staff",
        given_by=principal.subject,
        created_at=at,
    )


def _event(
    conversation: Conversation, turn: Turn | None, principal: Principal, wanted: EventWanted, at: int
) -> ValueEvent:
    return ValueEvent(
        id=new_id("val"),
        tenant_id=conversation.tenant_id,
        conversation_id=conversation.id,
        turn_id=wanted.turn_id,
        agent=conversation.agent,
        release_id=turn.release_id if turn else conversation.release_id,
        intent=turn.intent if turn else None,
        name=wanted.name,
        amount_micros=wanted.amount_micros,
        currency=wanted.currency,
        key=wanted.key,
        recorded_by=principal.subject,
        created_at=at,
    )


def _changed(services: Services, batch: Batch, conversation: Conversation, at: int) -> None:
    """What is counted of the conversation is counted again."""
    services.facts.changed(batch, conversation.tenant_id, conversation.id, at=at)


def _audit(
    services: Services,
    batch: Batch,
    conversation: Conversation,
    principal: Principal,
    action: str,
    details: tuple[tuple[str, Any], ...],
) -> None:
    entry = AuditEntry(
        conversation.tenant_id,
        action,
        "done",
        f"conversation:{conversation.id}",
        principal,
        subject=conversation.subject,
        conversation_id=conversation.id,
        details=details,
    )
    services.audit.record(batch, entry)
