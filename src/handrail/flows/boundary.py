"""Where a call's arguments come from, asked before it acts: text that nobody vouches for brings nothing about.

What the model has read is labelled by provenance. Once any of it is untrusted (a passage, a tool's own text, what a
client claims was said, an answer that was given with such text at hand) an action must be traced to the user.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from handrail.core import json
from handrail.core.clock import as_datetime
from handrail.core.messages import LadderRecord, Provenance, ToolCall
from handrail.core.principal import Role
from handrail.core.tools import Tool
from handrail.flows.services import ActiveTurn, Services
from handrail.oversight.approvals import Clause, Requirement, Risk
from handrail.protection.boundary import (
    BoundaryPolicy,
    Call,
    Result,
    Said,
    Situation,
    Verdict,
    explained,
    judge,
    untrusted_texts,
)
from handrail.serving.routing import parse_yes_no

RULE = "untraced-arguments"
MOST_REASON_CHARACTERS = 500
# A backslash or a character beyond ASCII may spell any other.
_MAY_HOLD_ADDRESS = re.compile(r"[@.\\]|//|[^\x00-\x7f]")
# Failures in our own words; those of a tool (`tool_error`, `tool_unavailable`) may repeat anybody's.
_OUR_CODES = frozenset({
    "permission_denied", "no_such_tool", "invalid_arguments", "switched_off", "timeout", "tool_failed", "tools_busy",
    "unknown", "rejected", "approval_expired", "changed", "untraced_arguments", "instructions_leaked", "unknown_token",
    "breaker_open", "overloaded", "deadline_exceeded",
})  # fmt: skip


def may_need_tracing(active: ActiveTurn, tool: Tool, call: ToolCall) -> bool:
    """Whether it is worth asking: a quick look that costs next to nothing."""
    if call.id in active.of_flow:
        return bool(active.of_flow[call.id])
    return tool.effect == "write" or tool.egress or _MAY_HOLD_ADDRESS.search(call.arguments) is not None


def untraced(services: Services, active: ActiveTurn, tool: Tool, arguments: Mapping[str, Any]) -> Verdict | None:
    """Why a model's call can't be traced to the user; None when it may run."""
    # Calls of one round were asked for together: none of their results had been read.
    context, untrusted = active.context, list(_untrusted(active, active.read))
    if not untrusted:
        return None
    spoken = _dialogue(active)
    call = Call(
        tool.name,
        tool.effect,
        arguments,
        active.release.tool_parameters[tool.name],
        tool.egress,
        frozenset(tool.free_text),
    )
    situation = Situation(
        dialogue=spoken,
        today=as_datetime(services.clock.micros()).date(),
        results=[*_earlier_results(active), *_results(active)],
        untrusted=untrusted,
        actions=active.release.actions,
        claims=frozenset({active.principal.subject}),
        answer=parse_yes_no(spoken[-1].text) if spoken and context.messages else None,
        done=list(_done(active)),
    )
    verdict = judge(call, situation)
    return None if verdict.allowed else verdict


def untraced_of_flow(influenced: Sequence[str]) -> Verdict | None:
    """The same of a flow's call. Its steps are the operator's, so only what flows into its arguments counts."""
    if not influenced:
        return None
    return Verdict(False, "; ".join(f"{name}: hangs on text that nobody vouches for" for name in influenced))


def requirement_of(policy: BoundaryPolicy, verdict: Verdict) -> Requirement:
    """What a person must approve, with where each argument comes from."""
    clause = Clause(RULE, 1, frozenset({Role.APPROVER}), frozenset(policy.teams))
    reason = explained(verdict)[:MOST_REASON_CHARACTERS]
    return Requirement(Risk.HIGH, (clause,), False, policy.expires_after_seconds, reason)


def provenance_of_answer(active: ActiveTurn, sources: Sequence[str]) -> Provenance:
    """How the answer of this turn is labelled where it is stored: later turns read it too."""
    heard = sources or next(_untrusted(active), None) or next(_saved_by_flow(active), None)
    return "relayed" if heard else "agent"


def _saved_by_flow(active: ActiveTurn) -> Iterator[tuple[str, str]]:
    """What a flow that goes on has kept of earlier turns' tools."""
    awaiting = active.conversation.awaiting
    flow = active.release.flows.get(str(awaiting.state.get("flow"))) if awaiting else None
    if awaiting is not None and flow is not None:
        for name, value in dict[str, Any](awaiting.state.get("saved") or {}).items():
            yield from untrusted_texts(Result(name, {}, value, flow.trusted.get(name, ())))


def _untrusted(active: ActiveTurn, read: int | None = None) -> Iterator[tuple[str, str]]:
    """Every text in the context that nobody vouches for, with where it stands; of this turn's results the first."""
    context = active.context
    for passage in context.documents:
        yield passage.source, passage.text
    for message in context.messages:
        if message.provenance == "client":
            yield "what a client says was said", message.content
        elif message.provenance in ("relayed", "document"):
            yield "an earlier answer", message.content
    for result in (*_earlier_results(active), *list(_results(active))[:read]):
        yield from untrusted_texts(result)


def _dialogue(active: ActiveTurn) -> list[Said]:
    """Who said what, up to the user's newest words; what a client brought along nobody said."""
    spoken: list[Said] = []
    acted = False
    for message in active.context.messages:
        if message.provenance == "user" and message.role == "user":
            spoken.append(Said("user", message.content))
            acted = False
        elif message.role == "assistant" and message.provenance != "client":
            acted = acted or any(map(active.writes, message.tool_calls))
            if message.content or acted:
                spoken.append(Said("agent", message.content, acted))
    while spoken and spoken[-1].by != "user":
        spoken.pop()
    return spoken


def _earlier_results(active: ActiveTurn) -> Iterator[Result]:
    """Results of earlier turns that still stand in the context."""
    shown = {call.id for message in active.context.messages for call in message.tool_calls}
    for call in active.context.calls:
        if call.id in shown and call.result is not None:
            yield _result(active, call.name, call.arguments, call.result, call.status, call.ladder)


def _results(active: ActiveTurn) -> Iterator[Result]:
    for call, result in active.heard:
        yield _result(active, call.name, call.arguments, result.content, result.status, result.ladder)


def _result(active: ActiveTurn, name: str, arguments: str, content: str, status: str, ladder: LadderRecord) -> Result:
    known, said = _decoded(arguments), _decoded(content)
    given = known if isinstance(known, dict) else {"arguments": arguments}
    if status != "completed":
        error = said.get("error") if isinstance(said, dict) else None
        code = error.get("code") if isinstance(error, dict) else None
        return Result(name, given, said, ("error",) if code in _OUR_CODES else ("error.code",))
    tool = active.release.tools.get(name)
    return Result(name, given, said, trusted_of(tool, ladder) if tool is not None else ())


def trusted_of(tool: Tool, ladder: LadderRecord = ()) -> tuple[str, ...]:
    """What the tool vouches for; what stood in for it must vouch for it too."""
    if ladder and ladder[-1]["rung"] in ("secondary", "cached") and tool.secondary is not None:
        return tuple(name for name in tool.trusted if name in tool.secondary.trusted)
    return tool.trusted


def _done(active: ActiveTurn) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Writes of this turn that ran, or may have."""
    for call, result in active.heard:
        if active.writes(call) and result.status in ("completed", "unknown"):
            arguments = _decoded(call.arguments)
            yield call.name, arguments if isinstance(arguments, dict) else {}


def _decoded(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
