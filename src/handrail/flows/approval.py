"""The story of a decision: read what is asked, judge the voter, record it once, and let the turn go on.

An edit is checked against the tool's schema and judged by the rules again, as if the agent had asked for it so.
"""

from collections.abc import Mapping
from typing import Any, Literal

from handrail.core.errors import HandrailError, NotFound, UsageError
from handrail.core.principal import Principal
from handrail.db import Conflict
from handrail.flows.resume import go_on
from handrail.flows.services import Services
from handrail.oversight.approvals import (
    Approval,
    Ballot,
    CallFacts,
    Edit,
    Refusal,
    RefusalCode,
    Requirement,
    Voter,
    required,
    strictest,
    vote,
)

ATTEMPTS = 5
Decision = Literal["approve", "reject", "edit", "info"]


class ApprovalConflict(HandrailError):
    """It is decided already, expired, or not what was shown; the message says which."""

    code = "approval_conflict"


class NotEntitled(UsageError):
    """This person may not decide this."""

    code = "permission_denied"


class DecisionInvalid(UsageError):
    """The decision lacks something: a reason, or arguments that fit the tool."""

    code = "invalid_decision"


async def decide(
    services: Services,
    principal: Principal,
    approval_id: str,
    decision: Decision,
    *,
    fingerprint: str,
    reason: str | None = None,
    arguments: Mapping[str, Any] | None = None,
) -> Approval:
    """Take one person's word; `fingerprint` is that of the call as it was shown to them.

    Raises:
        NotFound: the tenant has no such approval.
        NotEntitled: this person may not decide it (or asked for it).
        ApprovalConflict: it is decided, expired or changed.
        DecisionInvalid: a reason or fitting arguments are missing.
    """
    for _ in range(ATTEMPTS):
        seen = await services.approvals.look(principal.tenant_id, approval_id)
        if seen is None:
            raise NotFound(f"there is no approval {approval_id!r}")
        edit = await _edit(services, principal, seen.approval, arguments) if decision == "edit" else None
        ballot = Ballot(decision, fingerprint, reason, edit)
        outcome = vote(seen.approval, seen.votes, Voter(principal, principal.teams), ballot, seen.at)
        if isinstance(outcome, Refusal):
            raise _refused(outcome)
        try:
            async with services.db.batch() as batch:
                services.approvals.record(batch, outcome)
        except Conflict:
            continue
        if outcome.decides:
            await go_on(services, outcome.after)
        return outcome.after
    raise ApprovalConflict("many people decide this at once; read it again", retry_after_seconds=1)


async def _edit(
    services: Services, principal: Principal, approval: Approval, arguments: Mapping[str, Any] | None
) -> Edit:
    """The other arguments, checked, and what the rules of the pinned and the stable release say to them."""
    call = approval.call
    if arguments is None:
        raise DecisionInvalid("an edit needs the whole new arguments", param="arguments")
    release = await services.releases.load(call.tenant_id, call.release_id)
    try:
        release.tools[call.tool].parse(arguments)
    except UsageError as error:
        raise DecisionInvalid(f"the arguments don't fit {call.tool!r}: {error.message}", param="arguments") from error
    conversation = await services.conversations.find(call.tenant_id, call.conversation_id)
    turn = await services.conversations.find_turn(call.tenant_id, call.turn_id)
    requester = Principal(call.tenant_id, call.requester)
    facts = CallFacts(call.tool, arguments, requester, conversation, turn.intent if turn else None)
    requirement: Requirement | None = None
    for each in await services.releases.protection(call.tenant_id, release):
        requirement = strictest(requirement, required(each.approval_rules, facts))
    return Edit(arguments, requirement)


_NOT_ENTITLED = {RefusalCode.NOT_ENTITLED, RefusalCode.IS_REQUESTER}
_INVALID = {RefusalCode.REASON_MISSING, RefusalCode.UNCHANGED}


def _refused(refusal: Refusal) -> HandrailError:
    if refusal.code in _NOT_ENTITLED:
        return NotEntitled(refusal.message)
    if refusal.code in _INVALID:
        return DecisionInvalid(refusal.message, param="reason")
    return ApprovalConflict(refusal.message)
