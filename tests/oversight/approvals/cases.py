"""People, calls and rules that the tests of approvals share."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from handrail.core.clock import FrozenClock
from handrail.core.conditions import CallFacts
from handrail.core.documents import parse_yaml
from handrail.core.principal import Principal, Role
from handrail.core.tools import Tool
from handrail.oversight.approvals import (
    Approval,
    ApprovalRule,
    Ballot,
    Capacity,
    Clause,
    GuardedCall,
    Recorded,
    Requirement,
    Risk,
    Rules,
    Vote,
    Voter,
    compile_rules,
    opened,
    vote,
)

HOUR = 3600
NOW = FrozenClock().micros()
APPROVER = Clause("large-refund", 1, frozenset({Role.APPROVER}))
CALL = GuardedCall(
    tenant_id="acme",
    conversation_id="conv_1",
    turn_id="turn_1",
    tool_call_id="call_1",
    agent="shop",
    release_id="rel_1",
    requester="rita",
    tool="refund_order",
    arguments={"order_id": "A1", "amount": 150},
)


@dataclass(frozen=True)
class Talk:
    id: str = "conv_1"
    agent: str = "shop"
    channel: str = "api"
    turn_count: int = 3


def person(
    subject: str,
    *roles: Role,
    tenant: str = "acme",
    teams: frozenset[str] = frozenset(),
    lent: tuple[Capacity, ...] = (),
) -> Voter:
    return Voter(Principal(tenant, subject, frozenset(roles), teams=teams), lent)


ANN = person("ann", Role.APPROVER)
BOB = person("bob", Role.APPROVER)
CARL = person("carl", Role.VIEWER, teams=frozenset({"finance"}))
DORA = person("dora", Role.VIEWER)
RITA = person("rita", Role.APPROVER)
STRANGER = person("ann", Role.APPROVER, tenant="other")


def requirement(*clauses: Clause, **changes: Any) -> Requirement:
    values: dict[str, Any] = {
        "risk": Risk.HIGH,
        "clauses": clauses or (APPROVER,),
        "requester_may_approve": False,
        "expires_after_seconds": 4 * HOUR,
        "reason": "A refund of 150.",
    }
    return Requirement(**{**values, **changes})


def waiting(asked: Requirement | None = None, call: GuardedCall = CALL, at: int = NOW) -> Approval:
    return opened(call, asked or requirement(), at)


def votes_needed(votes: int) -> Approval:
    return waiting(requirement(replace(APPROVER, votes=votes)))


def ballot(approval: Approval, decision: Any = "approve", reason: str | None = "looked at it", **more: Any) -> Ballot:
    return Ballot(decision, approval.fingerprint, reason, **more)


def said(outcome: object) -> Recorded:
    assert isinstance(outcome, Recorded), outcome
    return outcome


def after(approval: Approval, *voters: Voter, decision: Any = "approve") -> tuple[Approval, list[Vote]]:
    """The approval once these people have said so, one after another."""
    votes: list[Vote] = []
    for voter in voters:
        recorded = said(vote(approval, votes, voter, ballot(approval, decision), NOW + 60_000_000))
        approval, votes = recorded.after, [*votes, recorded.vote]
    return approval, votes


def tool(name: str, *arguments: str) -> Tool:
    parameters = {"type": "object", "properties": {each: {} for each in arguments}, "additionalProperties": False}
    return Tool(name, name, parameters, lambda: None, dict)


def rules(text: str, tools: Mapping[str, Tool] | None = None) -> Rules:
    """From the text of a policies.yaml."""
    document = parse_yaml("policies.yaml", text)
    return compile_rules([ApprovalRule.model_validate(each) for each in document.data["approvals"]], document, tools)


def facts(tool: str = "refund_order", *, intent: str | None = "refund", **arguments: Any) -> CallFacts:
    return CallFacts(tool, arguments, Principal("acme", "rita"), Talk(), intent)
