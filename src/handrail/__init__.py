"""Handrail takes an AI agent from prototype to production and keeps it there.

An agent project imports its public names from here; each is resolved at first use, so that importing costs nothing.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from handrail.core.tools import ToolContext
    from handrail.serving.tools import ToolError, ToolUnavailable, tool

__version__ = "0.1.0"
__all__ = ["ToolContext", "ToolError", "ToolUnavailable", "__version__", "tool"]

_HOMES = {
    "ToolContext": "handrail.core.tools",
    "ToolError": "handrail.serving.tools",
    "ToolUnavailable": "handrail.serving.tools",
    "tool": "handrail.serving.tools",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'handrail' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
