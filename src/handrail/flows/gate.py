"""Before a tool call may act: its permission, and the approval of people where a rule asks for one.

Both are judged now, by the conversation's own release and by the stable one; the stricter wins.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from handrail.core import json
from handrail.core.conditions import CallFacts
from handrail.core.errors import TurnPaused
from handrail.core.messages import ToolCall, ToolResult
from handrail.core.tools import Tool
from handrail.db import Conflict
from handrail.flows import spans
from handrail.flows.audit import tool_call_denied
from handrail.flows.boundary import may_need_tracing, requirement_of, untraced, untraced_of_flow
from handrail.flows.permission import why_not_permitted
from handrail.flows.personal import as_said, why_no_token
from handrail.flows.services import ActiveTurn, Services
from handrail.oversight.approvals import (
    Approval,
    ApprovalStatus,
    GuardedCall,
    Requirement,
    opened,
    permit,
    required,
    strictest,
)
from handrail.protection.boundary import Verdict, strictest_boundary
from handrail.serving.resilience import BreakerOpen
from handrail.serving.tools import InvalidArguments, decode

UNTRACED = "the user did not ask for this in their own words; ask them to confirm it"


class ApprovalPending(TurnPaused):
    """This call waits for people; its turn parks."""

    def __init__(self, approval: Approval) -> None:
        super().__init__(f"approval {approval.id} is pending")
        self.approval = approval


async def admitted(services: Services, active: ActiveTurn, call: ToolCall) -> ToolCall | ToolResult:
    """The call as it may run (an approver may have edited it), or the result that says why it may not.

    Raises:
        ApprovalPending: it waits for people.
    """
    tool = active.release.tools.get(call.name)
    if tool is None:
        known = ", ".join(sorted(active.release.tools)) or "none"
        return refused(call, "no_such_tool", f"there is no tool {call.name!r}; the tools are: {known}")
    if tool.effect == "write":
        # Nobody is asked to approve what is switched off; of a read the ladder knows what to give instead.
        try:
            services.switches.require_tool(active.turn.tenant_id, tool.name)
        except BreakerOpen as off:
            return refused(call, off.code, off.message)
    releases = await services.releases.protection(active.turn.tenant_id, active.release)
    if (why := why_not_permitted(active, releases, tool, call)) is not None:
        return _denied(services, active, call, why)
    if call.id not in active.of_flow and active.release.canary.stands_in(call.arguments):
        tool_call_denied(services, active, call, "instructions_leaked")
        return refused(call, "instructions_leaked", "the arguments hold a part of your instructions that is secret")
    if call.id not in active.of_flow and (why := await why_no_token(services, active, call)) is not None:
        tool_call_denied(services, active, call, "unknown_token")
        return refused(call, "unknown_token", why)
    # A turn that goes on may have asked under a rule that is gone since; what people decided then still holds.
    traced = not may_need_tracing(active, tool, call)
    if active.turn.epoch <= 1 and traced and not any(each.approval_rules.rules for each in releases):
        return call
    arguments = _decoded(tool, call)
    if arguments is None:
        return call
    asked = await services.approvals.find_by_call(active.turn.tenant_id, call.id)
    if asked is not None:
        spans.asked(active, asked)
        going = _decided(active, call, asked, arguments)
        # An approver may have edited it: that decides what is done, not what this user may have done for them.
        if isinstance(going, ToolCall) and (why := why_not_permitted(active, releases, tool, going)) is not None:
            return _denied(services, active, call, why)
        return going
    facts = CallFacts(tool.name, arguments, active.principal, active.conversation, active.intent)
    requirement: Requirement | None = None
    for each in releases:
        requirement = strictest(requirement, required(each.approval_rules, facts))
    verdict = None if traced else _untraced(services, active, tool, call, arguments)
    if verdict is not None:
        boundary = strictest_boundary(each.policies.boundary for each in releases)
        services.metrics.untraced_call(active.turn.agent, call.name, boundary.untraced)
        if boundary.untraced == "refuse":
            tool_call_denied(services, active, call, "untraced_arguments")
            return refused(call, "untraced_arguments", f"{UNTRACED}: {verdict.reason}")
        requirement = strictest(requirement, requirement_of(boundary, verdict))
    if requirement is None:
        return call
    raise ApprovalPending(await _ask(services, active, call, arguments, requirement))


def _untraced(
    services: Services, active: ActiveTurn, tool: Tool, call: ToolCall, arguments: Mapping[str, Any]
) -> Verdict | None:
    """Why this call can't be traced to the user, if it can't."""
    if call.id in active.of_flow:
        return untraced_of_flow(active.of_flow[call.id])
    return untraced(services, active, tool, as_said(active, arguments))


async def why_no_stand_in(services: Services, active: ActiveTurn, call: ToolCall, tool: Tool) -> str | None:
    """Why this tool may not answer for another, as an error's code: it is under the same rules as when it is called.

    Nobody is asked for an approval of a stand-in. A function that is no tool of its own has no rules of its own.
    """
    try:
        services.switches.require_tool(active.turn.tenant_id, tool.name)
    except BreakerOpen as off:
        return off.code
    if tool.name not in active.release.tools:
        return None
    releases = await services.releases.protection(active.turn.tenant_id, active.release)
    if why_not_permitted(active, releases, tool, call) is not None:
        return "permission_denied"
    for each in releases:
        arguments = _decoded(tool, call)
        if tool.egress and arguments is not None and _untraced(services, active, tool, call, arguments) is not None:
            return "needs_approval"
        if arguments is not None and each.approval_rules.rules:
            facts = CallFacts(tool.name, arguments, active.principal, active.conversation, active.intent)
            if required(each.approval_rules, facts) is not None:
                return "needs_approval"
    return None


def _denied(services: Services, active: ActiveTurn, call: ToolCall, why: str) -> ToolResult:
    tool_call_denied(services, active, call, "permission_denied")
    return refused(call, "permission_denied", why)


def refused(call: ToolCall, code: str, message: str, reason: str | None = None) -> ToolResult:
    """The result of a call that does not run; `reason` is what the person said who decided that."""
    error = {"code": code, "message": message} | ({"reason": reason} if reason else {})
    content = json.dumps({"error": error})
    return ToolResult(call.id, call.name, content, "failed", call.provider_id)


async def _ask(
    services: Services, active: ActiveTurn, call: ToolCall, arguments: Mapping[str, Any], requirement: Requirement
) -> Approval:
    """Store the question, before anything of the call has happened."""
    approval = opened(_guarded(active, call, arguments), requirement, services.clock.micros())
    try:
        async with services.db.batch() as batch:
            services.conversations.still_mine(batch, active.turn, lease_micros=services.limits.lease_micros)
            services.approvals.open(batch, approval)
    except Conflict:
        known = await services.approvals.find_by_call(active.turn.tenant_id, call.id)
        if known is None:
            raise
        return known
    services.metrics.approval_asked(active.turn.agent, call.name)
    return approval


def _decided(
    active: ActiveTurn, call: ToolCall, approval: Approval, arguments: Mapping[str, Any]
) -> ToolCall | ToolResult:
    """What people decided about this very call."""
    asked_for = approval.original_arguments if approval.original_arguments is not None else approval.call.arguments
    if json.canonical(asked_for) != json.canonical(arguments):
        return refused(call, "changed", f"approval {approval.id} is for other arguments; ask anew")
    if approval.status is ApprovalStatus.PENDING:
        raise ApprovalPending(approval)
    if approval.status is ApprovalStatus.APPROVED:
        refusal = permit(approval, _guarded(active, call, approval.call.arguments))
        if refusal is not None:
            return refused(call, refusal.code.value, refusal.message)
        return replace(call, arguments=json.dumps(dict(approval.call.arguments)))
    why = f": {approval.decision_reason}" if approval.decision_reason else ""
    if approval.status is ApprovalStatus.REJECTED:
        text = f"a person decided against this{why}; do not try it again"
        return refused(call, "rejected", text, approval.decision_reason)
    text = f"the approval of this timed out{why}; it was not done, and nobody refused it: the user may ask for it again"
    return refused(call, "approval_expired", text)


def _guarded(active: ActiveTurn, call: ToolCall, arguments: Mapping[str, Any]) -> GuardedCall:
    turn = active.turn
    return GuardedCall(
        tenant_id=turn.tenant_id,
        conversation_id=turn.conversation_id,
        turn_id=turn.id,
        tool_call_id=call.id,
        agent=turn.agent,
        release_id=turn.release_id,
        requester=active.principal.subject,
        tool=call.name,
        arguments=arguments,
    )


def _decoded(tool: Tool, call: ToolCall) -> Mapping[str, Any] | None:
    """The arguments as JSON values; None when they don't fit the tool, which the runner then tells the model."""
    try:
        arguments = decode(call.arguments)
        tool.parse(arguments)
    except InvalidArguments:
        return None
    return arguments
