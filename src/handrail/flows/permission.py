"""Whether a tool may be called for the user, by the release's own permissions and the stable one's: the stricter wins.

The agent has no rights of its own. What is asked here is always what the user at the other end may have done for them,
whoever approved the call and whichever process goes on with the turn.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from handrail.core.conditions import CallFacts, NotJudged, is_judgeable
from handrail.core.messages import ToolCall
from handrail.core.tools import Tool
from handrail.flows.loaded_release import LoadedRelease
from handrail.flows.services import ActiveTurn
from handrail.protection.auth import decide_tool
from handrail.serving.tools import InvalidArguments, decode


def why_not_permitted(active: ActiveTurn, releases: Sequence[LoadedRelease], tool: Tool, call: ToolCall) -> str | None:
    """Why the call may not be made for its user; None when it may."""
    for each in releases:
        decision = decide_tool(
            active.principal,
            tool.name,
            each.policies.permissions,
            lambda each=each: _holds(active, each, tool, call),
        )
        if not decision.allowed:
            return decision.reason
    return None


def _holds(active: ActiveTurn, release: LoadedRelease, tool: Tool, call: ToolCall) -> bool:
    condition = release.permission_conditions.get(tool.name)
    if condition is None:
        raise NotJudged("it is not compiled")
    arguments = _arguments(tool, call)
    return condition.holds(
        CallFacts(tool.name, arguments, active.principal, active.conversation, active.intent).values()
    )


def _arguments(tool: Tool, call: ToolCall) -> Mapping[str, Any]:
    try:
        arguments = decode(call.arguments)
        tool.parse(arguments)
    except InvalidArguments as error:
        raise NotJudged(f"the arguments do not fit the tool: {error}") from error
    if not is_judgeable(arguments):
        raise NotJudged("the arguments nest too deep")
    return arguments
