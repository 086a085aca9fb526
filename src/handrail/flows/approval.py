"""The story of a decision: read what is asked, judge the voter, record it once, and let the turn go on.

An edit is checked against the tool's schema and judged by the rules again, as if the agent had asked for it so. Several
approvals are decided at once only when they are the same action asked for again; each keeps its own vote.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from handrail.core.conditions import CallFacts
from handrail.core.errors import HandrailError, NotFound, UsageError
from handrail.core.principal import Principal
from handrail.db import Conflict
from handrail.flows.approval_desk import voter_of
from handrail.flows.audit import approval_voted
from handrail.flows.question import ask_requester
from handrail.flows.resume import go_on
from handrail.flows.sender import sender_of
from handrail.flows.services import Services
from handrail.flows.veil import for_requester, meant, veil_of_approval
from handrail.oversight.approvals import (
    Approval,
    Ballot,
    Edit,
    Recorded,
    Refusal,
    RefusalCode,
    Requirement,
    Risk,
    Seen,
    identical,
    required,
    standing,
    strictest,
    vote,
)

ATTEMPTS = 5
MOST_AT_ONCE = 50
Decision = Literal["approve", "reject", "edit", "info"]


class ApprovalConflict(HandrailError):
    """It is decided already, expired, or not what was shown; `approval` is how it stands, once it is decided."""

    code = "approval_conflict"

    def __init__(self, message: str, *, approval: Approval | None = None, retry_after_seconds: float | None = None):
        super().__init__(message, retry_after_seconds=retry_after_seconds)
        self.approval = approval


class NotEntitled(UsageError):
    """This person may not decide this."""

    code = "permission_denied"


class DecisionInvalid(UsageError):
    """The decision lacks something: a reason, or arguments that fit the tool."""

    code = "invalid_decision"


@dataclass(frozen=True, slots=True)
class Picked:
    """An approval, and the fingerprint of its call as it was shown to whoever decides."""

    id: str
    fingerprint: str


async def decide(
    services: Services,
    principal: Principal,
    approval_id: str,
    decision: Decision,
    *,
    fingerprint: str,
    reason: str | None = None,
    arguments: Mapping[str, Any] | None = None,
    at: int | None = None,
) -> Approval:
    """Take one person's word; `fingerprint` is that of the call as it was shown to them.

    Raises:
        NotFound: the tenant has no such approval.
        NotEntitled: this person may not decide it (or asked for it).
        ApprovalConflict: it is decided, expired or changed.
        DecisionInvalid: a reason or fitting arguments are missing.
    """
    for _ in range(ATTEMPTS):
        seen = await _look(services, principal, approval_id)
        voter = await voter_of(services, principal)
        edit = await _edit(services, principal, seen.approval, arguments) if decision == "edit" else None
        said = for_requester(services, seen.approval, reason) if decision == "info" else reason
        ballot = Ballot(decision, fingerprint, said, edit)
        outcome = vote(seen.approval, seen.votes, voter, ballot, seen.at if at is None else at)
        if isinstance(outcome, Refusal):
            raise _refused(outcome, seen)
        try:
            await _record(services, principal, outcome)
        except Conflict:
            continue
        if outcome.decides:
            await go_on(services, outcome.after)
        return outcome.after
    raise ApprovalConflict("many people decide this at once; read it again", retry_after_seconds=1)


async def decide_identical(
    services: Services,
    principal: Principal,
    picked: Sequence[Picked],
    decision: Literal["approve", "reject"],
    reason: str | None = None,
) -> list[Approval | HandrailError]:
    """Take one person's word on the same action asked for several times; in order, each one's outcome.

    Raises:
        NotFound: the tenant has no such approval; then nothing is decided.
        NotEntitled: this person may not decide them.
        DecisionInvalid: they are not the same action, or one is named twice, or its risk asks for a look at each.
    """
    if not 0 < len(picked) <= MOST_AT_ONCE or len({each.id for each in picked}) < len(picked):
        raise DecisionInvalid(f"name 1 to {MOST_AT_ONCE} different approvals", param="approvals")
    seen = [await _look(services, principal, each.id) for each in picked]
    first = seen[0].approval
    for other in (each.approval for each in seen[1:]):
        if not identical(first, other):
            text = f"{other.id!r} is not the same action as {first.id!r}; decide it by itself"
            raise DecisionInvalid(text, param="approvals")
    if first.risk is Risk.CRITICAL and decision == "approve" and len(seen) > 1:
        raise DecisionInvalid("a critical action is approved one by one; look at each", param="approvals")
    # The same people may decide all of them, so it is said once and not of each.
    entitled = standing(first, await voter_of(services, principal), seen[0].at)
    if isinstance(entitled, Refusal) and entitled.code in _NOT_ENTITLED:
        raise _refused(entitled, seen[0])
    # One moment for all: it was one look, and counts as one where the pace of decisions is measured.
    at = seen[-1].at
    return [await _tried(services, principal, each, decision, reason, at) for each in picked]


async def _tried(
    services: Services, principal: Principal, each: Picked, decision: Decision, reason: str | None, at: int
) -> Approval | HandrailError:
    try:
        return await decide(services, principal, each.id, decision, fingerprint=each.fingerprint, reason=reason, at=at)
    except HandrailError as error:
        return error


async def _look(services: Services, principal: Principal, approval_id: str) -> Seen:
    seen = await services.approvals.look(principal.tenant_id, approval_id)
    if seen is None:
        raise NotFound(f"there is no approval {approval_id!r}", param="approval_id")
    return seen


async def _record(services: Services, principal: Principal, outcome: Recorded) -> None:
    """The decision in one batch with its vote; a question goes to the requester's conversation too."""
    if outcome.vote.decision == "info":
        await ask_requester(services, principal, outcome)
        return
    async with services.db.batch() as batch:
        services.approvals.record(batch, outcome)
        approval_voted(services, batch, principal, outcome.after, outcome.vote.decision)
        call = outcome.after.call
        services.facts.changed(batch, call.tenant_id, call.conversation_id, at=services.clock.micros())


async def _edit(
    services: Services, principal: Principal, approval: Approval, arguments: Mapping[str, Any] | None
) -> Edit:
    """The other arguments, checked, and what the rules of the pinned and the stable release say to them."""
    call = approval.call
    if arguments is None:
        raise DecisionInvalid("an edit needs the whole new arguments", param="arguments")
    release = await services.releases.load(call.tenant_id, call.release_id)
    tool = release.tools[call.tool]
    try:
        arguments = await meant(services, approval, arguments, tool.personal)
        tool.parse(arguments)
    except UsageError as error:
        why = veil_of_approval(services, principal, approval).over(error.message)
        raise DecisionInvalid(f"the arguments don't fit {call.tool!r}: {why}", param="arguments") from error
    conversation = await services.conversations.find(call.tenant_id, call.conversation_id)
    turn = await services.conversations.find_turn(call.tenant_id, call.turn_id)
    requester = sender_of(turn, conversation) if turn else Principal(call.tenant_id, call.requester)
    facts = CallFacts(call.tool, arguments, requester, conversation, turn.intent if turn else None)
    requirement: Requirement | None = None
    for each in await services.releases.protection(call.tenant_id, release):
        requirement = strictest(requirement, required(each.approval_rules, facts))
    return Edit(arguments, requirement)


_NOT_ENTITLED = {RefusalCode.NOT_ENTITLED, RefusalCode.IS_REQUESTER}
_INVALID = {RefusalCode.REASON_MISSING, RefusalCode.UNCHANGED}
_OVER = {RefusalCode.ALREADY_DECIDED, RefusalCode.EXPIRED}


def _refused(refusal: Refusal, seen: Seen) -> HandrailError:
    if refusal.code in _NOT_ENTITLED:
        return NotEntitled(refusal.message)
    if refusal.code in _INVALID:
        return DecisionInvalid(refusal.message, param="reason")
    return ApprovalConflict(refusal.message, approval=seen.approval if refusal.code in _OVER else None)
