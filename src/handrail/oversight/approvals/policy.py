"""Whether a call waits, who may decide it, and what a decision does. Pure, apart from the ids of new rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Literal

from handrail.core import json
from handrail.core.conditions import CallFacts
from handrail.core.ids import new_id
from handrail.core.principal import Principal
from handrail.oversight.approvals.records import (
    Approval,
    ApprovalStatus,
    Approvers,
    Capacity,
    Clause,
    Decision,
    GuardedCall,
    Requirement,
    Risk,
    Vote,
)
from handrail.oversight.approvals.rules import Match, Rules

_SECOND = 1_000_000
NO_RULE_ASKS = "an approver changed the arguments, and no rule asks for an approval of these"


class RefusalCode(StrEnum):
    """Why a decision is not taken, or a call not let through."""

    NOT_FOUND = "not_found"
    NOT_ENTITLED = "not_entitled"
    IS_REQUESTER = "is_requester"
    ALREADY_DECIDED = "already_decided"
    ALREADY_VOTED = "already_voted"
    EXPIRED = "expired"
    CHANGED = "changed"
    UNCHANGED = "unchanged"
    REASON_MISSING = "reason_missing"
    NOT_APPROVED = "not_approved"


@dataclass(frozen=True, slots=True)
class Refusal:
    """No, and what to do next."""

    code: RefusalCode
    message: str


@dataclass(frozen=True, slots=True)
class Voter:
    """Who decides; `lent` are the capacities of others in which they may act now (delegations in force)."""

    principal: Principal
    lent: tuple[Capacity, ...] = ()


@dataclass(frozen=True, slots=True)
class Edit:
    """Other arguments, already checked against the tool's schema, and what the rules say to them."""

    arguments: Mapping[str, Any]
    requirement: Requirement | None


@dataclass(frozen=True, slots=True)
class Ballot:
    """What a voter says; `fingerprint` is that of the call as it was shown to them."""

    decision: Literal["approve", "reject", "edit", "info"]
    fingerprint: str
    reason: str | None = None
    edit: Edit | None = None


@dataclass(frozen=True, slots=True)
class Recorded:
    """A decision that may be taken: the approval before and after it, and the row that says who did it."""

    before: Approval
    after: Approval
    vote: Vote

    @property
    def decides(self) -> bool:
        return self.after.status is not ApprovalStatus.PENDING


def required(rules: Rules, facts: CallFacts) -> Requirement | None:
    """What the matching rules together ask for; None when the call may run at once."""
    requirement = None
    for match in rules.matching(facts):
        requirement = strictest(requirement, _asked(match))
    return requirement


def strictest(left: Requirement | None, right: Requirement | None) -> Requirement | None:
    """Both requirements at once, so never less than either: of two rules, and of the pinned and the stable release.

    Highest risk, shortest times, and a requester may approve only if both say so. Approvers are neither joined nor
    intersected: every clause keeps its own people and votes, and all are met. Joined, the laxer rule would let its
    people decide alone; intersected, two rules with different teams could never be met by anybody.
    """
    if left is None or right is None:
        return left or right
    return Requirement(
        risk=max(left.risk, right.risk, key=lambda risk: risk.rank),
        clauses=tuple(dict.fromkeys((*left.clauses, *right.clauses))),
        requester_may_approve=left.requester_may_approve and right.requester_may_approve,
        expires_after_seconds=min(left.expires_after_seconds, right.expires_after_seconds),
        reason="\n".join(dict.fromkeys((*left.reason.splitlines(), *right.reason.splitlines()))),
        remind_after_seconds=_sooner(left.remind_after_seconds, right.remind_after_seconds),
        escalate_after_seconds=_sooner(left.escalate_after_seconds, right.escalate_after_seconds),
    )


def fingerprint(call: GuardedCall, approval_id: str) -> str:
    """What a decision is bound to: another argument, release, requester or place in a transcript is another one."""
    return json.digest(
        {
            "for": "handrail.approval",
            "tenant_id": call.tenant_id,
            "conversation_id": call.conversation_id,
            "tool_call_id": call.tool_call_id,
            "tool": call.tool,
            "arguments": call.arguments,
            "release_id": call.release_id,
            "requester": call.requester,
            "approval_id": approval_id,
        }
    )


def opened(call: GuardedCall, requirement: Requirement, at: int) -> Approval:
    """A new, pending one."""
    approval_id = new_id("appr")
    return Approval(
        id=approval_id,
        call=call,
        original_arguments=None,
        fingerprint=fingerprint(call, approval_id),
        rules=requirement.rules,
        risk=requirement.risk,
        votes_needed=requirement.votes_needed,
        approvers=Approvers(requirement.clauses, requirement.requester_may_approve),
        reason=requirement.reason,
        status=ApprovalStatus.PENDING,
        expires_at=at + requirement.expires_after_seconds * _SECOND,
        created_at=at,
        remind_at=_later(at, requirement.remind_after_seconds),
        escalate_at=_later(at, requirement.escalate_after_seconds),
    )


def vote(approval: Approval, votes: Sequence[Vote], voter: Voter, ballot: Ballot, now: int) -> Recorded | Refusal:
    """What a person's word does to an approval.

    One rejection rejects: k people are asked because each may see what the others missed, so a no is not outvoted.
    """
    capacity = standing(approval, voter, now)
    if isinstance(capacity, Refusal):
        return capacity
    if ballot.fingerprint != approval.fingerprint or not is_intact(approval):
        return _no(RefusalCode.CHANGED, f"approval {approval.id!r} is not what was shown to you; read it again")
    reason = (ballot.reason or "").strip() or None
    refusal = _repeated(approval, votes, voter, capacity) if ballot.decision == "approve" else None
    refusal = refusal or _unfit(approval, ballot, reason)
    if refusal is not None:
        return refusal
    subject = voter.principal.subject
    if ballot.decision == "edit":
        assert ballot.edit is not None
        return _edited(approval, subject, capacity, ballot.edit, reason, now)
    cast = _cast(approval, subject, capacity, ballot.decision, reason, now)
    after = replace(approval, version=approval.version + 1)
    if ballot.decision == "reject":
        after = _decided(after, ApprovalStatus.REJECTED, cast)
    elif ballot.decision == "approve" and not missing(approval, (*votes, cast)):
        after = _decided(after, ApprovalStatus.APPROVED, cast)
    return Recorded(approval, after, cast)


def standing(approval: Approval, voter: Voter, now: int) -> Capacity | Refusal:
    """In which capacity the voter may act on this approval now; the own one goes before those that others lent."""
    principal = voter.principal
    if principal.tenant_id != approval.call.tenant_id:
        return _no(RefusalCode.NOT_FOUND, f"there is no approval {approval.id!r}")
    own = Capacity(principal.roles, principal.teams)
    capacity = next((each for each in (own, *voter.lent) if _is_accepted(approval, each)), None)
    if capacity is None:
        text = f"{principal.subject!r} may not decide {approval.id!r}; it needs {_who(approval)}"
        return _no(RefusalCode.NOT_ENTITLED, text)
    if principal.subject == approval.call.requester and not _requester_may(approval):
        text = f"{principal.subject!r} asked for this and may not decide it; it needs somebody else"
        return _no(RefusalCode.IS_REQUESTER, text)
    return _still_open(approval, now) or capacity


def hindrance(approval: Approval, votes: Sequence[Vote], voter: Voter, now: int) -> str | None:
    """Why this person can't approve it now, said before they try; None when they can."""
    capacity = standing(approval, voter, now)
    refusal = capacity if isinstance(capacity, Refusal) else _repeated(approval, votes, voter, capacity)
    return refusal.message if refusal else None


def missing(approval: Approval, votes: Sequence[Vote]) -> tuple[tuple[Clause, int], ...]:
    """The clauses that are not met yet, with how many votes each still needs."""
    yes = _said_yes(approval, votes)
    lacking = ((clause, clause.votes - sum(map(clause.accepts, yes.values()))) for clause in approval.approvers.clauses)
    return tuple((clause, short) for clause, short in lacking if short > 0)


def permit(approval: Approval, call: GuardedCall) -> Refusal | None:
    """Asked at the edge of execution: is this very call the one that was approved?"""
    if approval.status is not ApprovalStatus.APPROVED:
        text = f"approval {approval.id!r} is {approval.status.value}, so the call does not run"
        return _no(RefusalCode.NOT_APPROVED, text)
    if fingerprint(call, approval.id) != approval.fingerprint:
        text = f"approval {approval.id!r} is for another call; whoever wants this one asks for a new approval"
        return _no(RefusalCode.CHANGED, text)
    return None


def is_intact(approval: Approval) -> bool:
    """Whether the stored call is still the one its fingerprint was made of."""
    return fingerprint(approval.call, approval.id) == approval.fingerprint


def escalated(approval: Approval) -> Approval:
    """As it is once another team may decide too."""
    approvers = replace(approval.approvers, clauses=tuple(map(_widened, approval.approvers.clauses)))
    return replace(approval, approvers=approvers, version=approval.version + 1)


def escalation_teams(approval: Approval) -> tuple[str, ...]:
    """Whom an escalation asks."""
    teams = (clause.escalate_to for clause in approval.approvers.clauses)
    return tuple(dict.fromkeys(team for team in teams if team is not None))


def identical(left: Approval, right: Approval) -> bool:
    """Whether one look decides both: the same action for the same person under the same rules, asked for twice.

    Fingerprints can't be compared, for each holds its own approval. The requester counts: a tool with the same
    arguments does another thing for another person.
    """
    return _action(left) == _action(right)


def _asked(match: Match) -> Requirement:
    """What one rule asks for; of a call that it can't judge nothing is known, so the highest risk is assumed."""
    rule, risk = match.rule, match.rule.risk if match.is_judged else Risk.CRITICAL
    return Requirement(
        risk=risk,
        clauses=(match.clause,),
        requester_may_approve=rule.requester_may_approve,
        expires_after_seconds=rule.expires_after_seconds if match.is_judged else rule.expires_unjudged_seconds,
        reason=match.reason,
        remind_after_seconds=rule.remind_after_seconds,
        escalate_after_seconds=rule.escalate_after_seconds,
    )


def _still_open(approval: Approval, now: int) -> Refusal | None:
    status = approval.status_at(now)
    if status is ApprovalStatus.PENDING:
        return None
    if status is ApprovalStatus.EXPIRED:
        text = f"approval {approval.id!r} has expired and will not be executed; the user can ask again"
        return _no(RefusalCode.EXPIRED, text)
    text = f"approval {approval.id!r} was {status.value} by {approval.decided_by!r}; the first decision stands"
    return _no(RefusalCode.ALREADY_DECIDED, text)


def _repeated(approval: Approval, votes: Sequence[Vote], voter: Voter, capacity: Capacity) -> Refusal | None:
    """Nobody has two votes: neither one person for two others, nor two for one."""
    given = _said_yes(approval, votes)
    people = {capacity.on_behalf_of or name for name, capacity in given.items()} | given.keys()
    for name in (voter.principal.subject, capacity.on_behalf_of):
        if name in people:
            text = f"{name!r} has approved this already; it needs another person"
            return _no(RefusalCode.ALREADY_VOTED, text)
    return None


def _unfit(approval: Approval, ballot: Ballot, reason: str | None) -> Refusal | None:
    """What this ballot lacks, apart from who casts it."""
    says_yes = ballot.decision in {"approve", "edit"}
    if ballot.decision == "edit":
        if ballot.edit is None:
            return _no(RefusalCode.UNCHANGED, "an edit needs the new arguments; give them")
        if json.canonical(ballot.edit.arguments) == json.canonical(approval.call.arguments):
            return _no(RefusalCode.UNCHANGED, "the edited arguments are the same as before; approve instead")
    if reason is None and not (says_yes and _highest_risk(approval, ballot) is not Risk.CRITICAL):
        return _no(RefusalCode.REASON_MISSING, f"to {ballot.decision} this needs a reason; say why")
    return None


def _highest_risk(approval: Approval, ballot: Ballot) -> Risk:
    """Before or after an edit, whichever is higher."""
    edited = ballot.edit.requirement if ballot.edit is not None else None
    return max(approval.risk, edited.risk if edited else Risk.LOW, key=lambda risk: risk.rank)


def _edited(approval: Approval, subject: str, capacity: Capacity, edit: Edit, reason: str | None, now: int) -> Recorded:
    """Earlier votes are void, the editor's counts as one; without a rule that still asks, it is enough.

    The time limit never grows: otherwise an edit would be a way to keep an approval alive.
    """
    call = replace(approval.call, arguments=edit.arguments)
    after = replace(
        approval,
        call=call,
        original_arguments=approval.call.arguments
        if approval.original_arguments is None
        else approval.original_arguments,
        fingerprint=fingerprint(call, approval.id),
        revision=approval.revision + 1,
        version=approval.version + 1,
    )
    # What the rules said of the old arguments is not true of these.
    after = _under(after, edit.requirement, now) if edit.requirement else replace(after, reason=NO_RULE_ASKS)
    diff = difference(approval.call.arguments, edit.arguments)
    cast = replace(_cast(after, subject, capacity, "edit", reason, now), diff=diff)
    if edit.requirement is None or not missing(after, (cast,)):
        after = _decided(after, ApprovalStatus.APPROVED, cast)
    return Recorded(approval, after, cast)


def _under(approval: Approval, requirement: Requirement, now: int) -> Approval:
    """The approval with what the rules ask for its new arguments."""
    clauses = requirement.clauses
    if approval.escalated_at is not None:
        clauses = tuple(map(_widened, clauses))
    return replace(
        approval,
        rules=requirement.rules,
        risk=requirement.risk,
        votes_needed=requirement.votes_needed,
        approvers=Approvers(clauses, requirement.requester_may_approve),
        reason=requirement.reason,
        expires_at=min(approval.expires_at, now + requirement.expires_after_seconds * _SECOND),
    )


def difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What an edit changed, argument by argument; an argument that was not there before has no `before`."""
    changed: dict[str, dict[str, Any]] = {}
    for name in sorted(before.keys() | after.keys()):
        sides = {side: values[name] for side, values in (("before", before), ("after", after)) if name in values}
        if len(sides) == 1 or json.canonical(sides["before"]) != json.canonical(sides["after"]):
            changed[name] = sides
    return changed


def _cast(
    approval: Approval, subject: str, capacity: Capacity, decision: Decision, reason: str | None, now: int
) -> Vote:
    return Vote(
        id=new_id("vote"),
        tenant_id=approval.call.tenant_id,
        approval_id=approval.id,
        voter=subject,
        decision=decision,
        fingerprint=approval.fingerprint,
        revision=approval.revision,
        capacity=capacity,
        reason=reason,
        diff=None,
        created_at=now,
    )


def _decided(approval: Approval, status: ApprovalStatus, last: Vote) -> Approval:
    return replace(
        approval, status=status, decided_at=last.created_at, decided_by=last.voter, decision_reason=last.reason
    )


def _said_yes(approval: Approval, votes: Sequence[Vote]) -> dict[str, Capacity]:
    """By person, who approves of the call as it stands now."""
    return {
        vote.voter: vote.capacity
        for vote in votes
        if vote.decision in {"approve", "edit"}
        and vote.revision == approval.revision
        and vote.fingerprint == approval.fingerprint
    }


def _is_accepted(approval: Approval, capacity: Capacity) -> bool:
    """A requester can't pick who approves: what one asked for, one's delegate can't decide in one's place either."""
    if capacity.on_behalf_of == approval.call.requester and not _requester_may(approval):
        return False
    return any(clause.accepts(capacity) for clause in approval.approvers.clauses)


def _requester_may(approval: Approval) -> bool:
    return approval.approvers.requester_may_approve


def _widened(clause: Clause) -> Clause:
    return clause if clause.escalate_to is None else replace(clause, teams=clause.teams | {clause.escalate_to})


def _who(approval: Approval) -> str:
    named = {f"role {role.value!r}" for clause in approval.approvers.clauses for role in clause.roles}
    named |= {f"team {team!r}" for clause in approval.approvers.clauses for team in clause.teams}
    return " or ".join(sorted(named))


def _action(approval: Approval) -> str:
    call = approval.call
    return json.digest(
        {
            "tenant_id": call.tenant_id,
            "agent": call.agent,
            "release_id": call.release_id,
            "requester": call.requester,
            "tool": call.tool,
            "arguments": call.arguments,
            "risk": approval.risk,
            "approvers": approval.approvers.as_json(),
        }
    )


def _sooner(left: int | None, right: int | None) -> int | None:
    return min((each for each in (left, right) if each is not None), default=None)


def _later(at: int, seconds: int | None) -> int | None:
    return None if seconds is None else at + seconds * _SECOND


def _no(code: RefusalCode, message: str) -> Refusal:
    return Refusal(code, message)
