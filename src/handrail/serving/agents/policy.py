"""When an agent has done enough: the limits of one turn, judged from its transcript alone."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from handrail.core.errors import HandrailError
from handrail.core.json import canonical, loads
from handrail.core.messages import Message, ToolCall


@dataclass(frozen=True, slots=True)
class LoopLimits:
    """What one turn may take; a resumed turn goes on counting where it was.

    The call that would be the `max_same_call`th of one tool with the same arguments is taken for going in circles
    and is not run.
    """

    max_steps: int = 8
    max_tool_calls: int = 24
    max_same_call: int = 3


class LoopStopped(HandrailError):
    """The agent was stopped by one of its limits."""

    code = "agent_stopped"


class StepLimit(LoopStopped):
    code = "agent_step_limit"


class ToolCallLimit(LoopStopped):
    code = "agent_tool_call_limit"


class GoingInCircles(LoopStopped):
    code = "agent_loop"


class Progress:
    """The model answers and tool calls of one turn; those that stand in the transcript already are counted too."""

    def __init__(self, messages: Sequence[Message], limits: LoopLimits) -> None:
        self._limits = limits
        self._steps = 0
        self._calls: Counter[tuple[str, bytes]] = Counter()
        for message in this_turn(messages):
            if message.tool_calls:
                self._steps += 1
                self._calls.update(map(_signature, message.tool_calls))

    def require_step(self) -> None:
        """Counts one model call; raises `StepLimit` when there are none left."""
        if self._steps >= self._limits.max_steps:
            raise StepLimit(f"no answer after {self._steps} model calls; raise max_steps or simplify the task")
        self._steps += 1

    def require_calls(self, calls: Sequence[ToolCall]) -> None:
        """Counts the calls one model answer asks for; raises `LoopStopped` when none of them may run."""
        signatures = [_signature(call) for call in calls]
        self._calls.update(signatures)
        if self._calls.total() > self._limits.max_tool_calls:
            raise ToolCallLimit(f"the model asked for more than {self._limits.max_tool_calls} tool calls in one turn")
        for signature in signatures:
            if (times := self._calls[signature]) >= self._limits.max_same_call:
                raise GoingInCircles(f"the model asked for tool {signature[0]!r} {times} times with the same arguments")


def this_turn(messages: Sequence[Message]) -> Sequence[Message]:
    """What came after the newest message of the user."""
    for index in range(len(messages) - 1, -1, -1):
        if messages[index].role == "user":
            return messages[index + 1 :]
    return messages


def _signature(call: ToolCall) -> tuple[str, bytes]:
    try:
        return call.name, canonical(loads(call.arguments))
    except ValueError:
        return call.name, call.arguments.encode(errors="replace")
