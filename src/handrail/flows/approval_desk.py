"""What people see before they decide: the action, what was said to it, and whether this person may decide it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from handrail.core.errors import NotFound
from handrail.core.principal import Principal
from handrail.flows.services import Services
from handrail.flows.veil import note_values_shown, veil_of_approval
from handrail.oversight.approvals import (
    Approval,
    ApprovalStatus,
    DecisionSpeed,
    Question,
    Vote,
    Voter,
    hindrance,
    missing,
)

_DAY = 24 * 3600 * 1_000_000


@dataclass(frozen=True, slots=True)
class Shown:
    """One approval as a person sees it, behind the veil that is between them and its user; `why_not` is what keeps them
    from approving it."""

    approval: Approval
    at: int
    why_not: str | None
    votes: Sequence[Vote] = ()
    questions: Sequence[Question] = ()

    @property
    def is_waiting(self) -> bool:
        return self.approval.status_at(self.at) is ApprovalStatus.PENDING

    @property
    def may_decide(self) -> bool:
        return self.why_not is None

    def body(self) -> dict[str, Any]:
        """As the lists of the API show it."""
        return self.approval.body(self.at) | {"may_decide": self.may_decide, "why_not": self.why_not}

    def whole_body(self) -> dict[str, Any]:
        """With all that was said, and the votes that are still missing, rule by rule."""
        lacking = missing(self.approval, self.votes) if self.is_waiting else ()
        return self.body() | {
            "votes": [each.body() for each in self.votes],
            "questions": [each.body() for each in self.questions],
            "missing": [
                {"rule": clause.rule, "votes": count, "roles": sorted(clause.roles), "teams": sorted(clause.teams)}
                for clause, count in lacking
            ],
        }


async def voter_of(services: Services, principal: Principal) -> Voter:
    """The principal with what others lent to them."""
    return Voter(principal, await services.approvals.delegations.lent_to(principal.tenant_id, principal.subject))


async def shown_to(services: Services, principal: Principal, found: Sequence[Approval]) -> list[Shown]:
    """These, as this person sees them now; that they saw what waits is noted."""
    store, at = services.approvals, await services.approvals.now()
    voter = await voter_of(services, principal)
    waiting = [each for each in found if each.status_at(at) is ApprovalStatus.PENDING]
    await store.shown.note(principal.tenant_id, principal.subject, waiting)
    several = {each.id for each in waiting if each.votes_needed > 1 or len(each.approvers.clauses) > 1}
    votes = {each: await store.votes(principal.tenant_id, each) for each in several}
    return [
        _behind_veil(
            services,
            principal,
            Shown(each, at, hindrance(each, votes.get(each.id, ()), voter, at), votes.get(each.id, ())),
        )
        for each in found
    ]


def _behind_veil(services: Services, principal: Principal, shown: Shown) -> Shown:
    note_values_shown(services, principal, shown.approval)
    veil = veil_of_approval(services, principal, shown.approval)
    return replace(
        shown,
        approval=veil.over_approval(shown.approval),
        votes=[veil.over_vote(each) for each in shown.votes],
        questions=[veil.over_question(each) for each in shown.questions],
    )


async def look_closely(services: Services, principal: Principal, approval_id: str) -> Shown:
    """One approval with all that was said to it.

    Raises:
        NotFound: the tenant has no such approval.
    """
    store = services.approvals
    seen = await store.look(principal.tenant_id, approval_id)
    if seen is None:
        raise NotFound(f"there is no approval {approval_id!r}", param="approval_id")
    voter = await voter_of(services, principal)
    questions = await store.questions.of_approval(principal.tenant_id, approval_id)
    shown = Shown(seen.approval, seen.at, hindrance(seen.approval, seen.votes, voter, seen.at), seen.votes, questions)
    if shown.is_waiting:
        await store.shown.note(principal.tenant_id, principal.subject, [seen.approval])
    return _behind_veil(services, principal, shown)


async def pace(
    services: Services, principal: Principal, *, days: float, hasty_seconds: float
) -> Sequence[DecisionSpeed]:
    """How fast the tenant's approvers decided in the last days, the hastiest first."""
    since = await services.approvals.now() - int(days * _DAY)
    return await services.approvals.speeds(principal.tenant_id, since, hasty_seconds)
