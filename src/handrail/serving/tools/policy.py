"""What a failed call means: whether the effect may have happened, whether somebody else may know better, and what the
agent may read about it."""

import socket
from typing import Literal

from handrail.core.errors import HandrailError, UsageError
from handrail.core.tools import Tool
from handrail.serving.tools.declaration import ToolError, ToolUnavailable

Failure = Literal["failed", "unknown"]
LONGEST_MESSAGE = 500

# The request can't have reached the other side when these were raised.
_NEVER_SENT = (ConnectionRefusedError, socket.gaierror)
_PASSES = (TimeoutError, ConnectionError, socket.gaierror)


def is_answer(error: BaseException | None) -> bool:
    """Whether the tool has said what it has to say, if only "no": then nobody else needs to be asked."""
    return error is None or (isinstance(error, HandrailError) and not error.retryable)


def is_passing(error: BaseException) -> bool:
    """Whether the same call may succeed in a moment; a bug of the tool does not go away by itself."""
    return error.retryable if isinstance(error, HandrailError) else isinstance(error, _PASSES)


def status_after_timeout(tool: Tool) -> Failure:
    """A write that did not answer in time may have happened; a read has nothing to have happened."""
    return "unknown" if tool.effect == "write" else "failed"


def status_after(error: BaseException, tool: Tool) -> Failure:
    """A write that ended by an error it did not declare is as uncertain as one that timed out.

    It may have been sent before its answer could not be read. `ToolError` and `ToolUnavailable` say that it was not.
    """
    is_declared = isinstance(error, (HandrailError, *_NEVER_SENT))
    return "failed" if is_declared else status_after_timeout(tool)


def explain(error: BaseException, tool: Tool) -> tuple[str, str]:
    """Code and message for the agent: the tool's own words when it means them for the agent, else none of it."""
    if isinstance(error, (ToolError, ToolUnavailable, UsageError)):
        return error.code, error.message[:LONGEST_MESSAGE]
    if status_after(error, tool) == "unknown":
        return "unknown", f"{tool.name} broke off; it may or may not have happened, so do not call it again"
    return "tool_failed", f"{tool.name} failed ({type(error).__name__}); nothing more is known"


def explain_timeout(tool: Tool, seconds: float) -> tuple[str, str]:
    """Code and message for the agent after a call that did not answer in time."""
    took = f"{tool.name} did not answer within {seconds:.3g} s"
    if status_after_timeout(tool) == "unknown":
        return "timeout", f"{took}; it may or may not have happened, so do not call it again"
    return "timeout", took
