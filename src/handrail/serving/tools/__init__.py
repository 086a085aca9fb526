"""Tools: typed functions of an agent project, described to models and run under a limit.

Promise: a tool runs with validated arguments, within its time, and whatever it does comes back as a `ToolResult`; no
stack trace and no internal text reaches a model or a user. Acts inside one tool call, after permission and approval.
Closed: arguments that don't validate and calls that find no free thread are refused before anything runs.
"""

from handrail.serving.tools.arguments import InvalidArguments, decode
from handrail.serving.tools.collect import collect
from handrail.serving.tools.declaration import ToolError, ToolUnavailable, tool
from handrail.serving.tools.runner import Attempt, LeftRunning, ToolRunner

__all__ = [
    "Attempt",
    "InvalidArguments",
    "LeftRunning",
    "ToolError",
    "ToolRunner",
    "ToolUnavailable",
    "collect",
    "decode",
    "tool",
]
