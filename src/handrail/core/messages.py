"""The transcript's parts. What is stored as messages and tool calls is exactly what resumes a turn."""

from dataclasses import dataclass
from typing import Literal

MessageRole = Literal["user", "assistant", "tool"]
Provenance = Literal["user", "agent", "tool", "document", "memory", "operator", "client"]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool the model or a dialogue flow asks for.

    `id` is ours and unique over all turns. `arguments` is the JSON text as it was written, not yet validated.
    `provider_id` is the model's own id for the call, echoed back to it.
    """

    id: str
    name: str
    arguments: str
    provider_id: str | None = None


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool call came to; `content` is JSON text and what the model reads."""

    tool_call_id: str
    name: str
    content: str
    status: Literal["completed", "failed", "unknown"] = "completed"
    provider_id: str | None = None

    @property
    def is_error(self) -> bool:
        return self.status != "completed"


@dataclass(frozen=True, slots=True)
class Message:
    """One part of the dialogue with its author and where its text came from.

    A `tool` message has the `tool_call_id` (the provider's id) it answers; an `assistant` one may have `tool_calls`,
    and `opaque`, which goes back to the provider that wrote it.
    """

    role: MessageRole
    content: str
    provenance: Provenance = "user"
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    opaque: str | None = None


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of the agent project's knowledge: `source` is the file, `title` the heading it stands under."""

    source: str
    title: str
    text: str
    score: float = 0.0

    def quoted(self) -> str:
        """The text with its source said, as a user reads it."""
        return f"{self.text} (Source: {self.title}, {self.source.partition('#')[0]})"
