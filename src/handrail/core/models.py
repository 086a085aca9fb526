"""The contract between the agent loop and every model client."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from handrail.core.deadline import Deadline
from handrail.core.errors import HandrailError
from handrail.core.messages import Message, Passage, ToolCall
from handrail.core.tools import Tool
from handrail.core.usage import Usage


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """All a model sees. `instructions` is the operator's text; `messages` end with the newest.

    `documents` are passages that the answer should rest on; clients render them as labelled, untrusted context.
    `output_schema` asks for structured output; `tool_choice` is `auto`, `none`, `required` or a tool's name.
    `traceparent` is a header for the provider (W3C Trace Context), where the client can send one.
    """

    instructions: str
    messages: Sequence[Message]
    tools: Sequence[Tool] = ()
    documents: Sequence[Passage] = ()
    tool_choice: str = "auto"
    output_schema: Mapping[str, Any] | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict[str, Any])
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class TextDelta:
    """Visible text, as it comes; a client may join what arrived in one network read."""

    text: str


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """The model's reasoning, passed through and never stored as the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class ModelAnswer:
    """The last event of every stream: the whole answer.

    `model` is the version the provider reported. `finish_reason` is `stop`, `length`, `tool_calls` or
    `content_filter`. `opaque` is what some providers want back in the next call (a reasoning signature); `sources`
    are the passages the text was taken from, where the client knows. `cost_micros` is filled in by who knows prices.
    """

    text: str
    tool_calls: tuple[ToolCall, ...]
    usage: Usage
    finish_reason: str
    model: str
    provider: str
    opaque: str | None = None
    sources: tuple[str, ...] = ()
    cost_micros: int | None = None


@dataclass(frozen=True, slots=True)
class Restarted:
    """The text that this call has given so far is void: another model begins the answer anew."""


ModelEvent = TextDelta | ReasoningDelta | ModelAnswer | Restarted


class ModelClient(Protocol):
    """One configured model. Safe to share between all turns of a process.

    `origin` is who answers: a host, or the provider's name where there is none. `account` tells apart whose limits a
    call counts against; no key can be read from it.
    """

    provider: str
    model: str
    origin: str
    account: str | None

    def stream(self, request: ModelRequest, deadline: Deadline) -> AsyncIterator[ModelEvent]:
        """Text and reasoning as they come, then one `ModelAnswer`.

        Raises:
            ModelError: the provider failed, refused, or answered with something that is not an answer.
        """
        ...

    async def close(self) -> None: ...


class ModelError(HandrailError):
    """A model call that gave no answer; `after_text` says whether the user may have seen part of one."""

    code: ClassVar[str] = "model_error"
    retryable: ClassVar[bool] = True

    def __init__(self, message: str, *, after_text: bool = False, retry_after_seconds: float | None = None) -> None:
        super().__init__(message, retry_after_seconds=retry_after_seconds)
        self.after_text = after_text


class ModelUnavailable(ModelError):
    """Refused connection, 5xx, timeout, overload, or no key configured."""

    code = "model_unavailable"


class ModelTooSlow(ModelUnavailable):
    """No first word within the time that leaves enough for another model."""

    code = "model_too_slow"


class ModelNotConfigured(ModelUnavailable):
    """There is nothing to call: a key or a URL is not set."""

    retryable = False


class ModelRateLimited(ModelUnavailable):
    """The provider said 429; `retry_after_seconds` when it told."""

    code = "model_rate_limited"


class ModelRefused(ModelError):
    """The provider rejected the request itself (400, 401, 404, context too long): trying again is no use."""

    code = "model_refused"
    retryable = False


class ModelDenied(ModelRefused):
    """The provider refused the key or does not know the model: no use trying there again, but another may answer."""


class ModelMalformed(ModelError):
    """The stream broke off, was not JSON, or asked for tools in a way that can't be read."""

    code = "model_malformed"
