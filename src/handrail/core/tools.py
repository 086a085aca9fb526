"""What a tool is, for the rooms that list, call and describe tools."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from handrail.core.deadline import Deadline
from handrail.core.principal import Principal

Effect = Literal["read", "write"]


@dataclass(frozen=True, slots=True)
class ToolContext:
    """Handed to a tool that declares a parameter of this type. The tool acts with this principal's rights.

    `idempotency_key` is the same on every attempt of one tool call: pass it to the system behind the tool.
    `traceparent` and `tracestate` are headers (W3C Trace Context) to send to that system, so that its spans stand below
    the tool's own.
    """

    principal: Principal
    conversation_id: str
    turn_id: str
    tool_call_id: str
    idempotency_key: str
    release_id: str
    deadline: Deadline
    traceparent: str | None = None
    tracestate: str | None = None


@dataclass(frozen=True, slots=True)
class Tool:
    """A function of the agent project that a model or a flow may call.

    Attributes:
        parameters: JSON schema of the arguments, as the model sees it.
        parse: validates decoded arguments and returns keyword arguments; raises `InvalidArguments`.
        effect: undeclared means `write`.
        idempotent: doing it twice with one idempotency key is doing it once.
        reconcile: asked after a timeout whether the effect happened.
        timeout_seconds: how long one attempt may take.
        trusted: fields of the result that come from the system of record: paths from its root, such as
            `orders.total_cents`; lists are passed through, and a name stands for all that is in it.
        egress: a read whose arguments go to a place outside, such as a search of the web.
        free_text: parameters that may hold any words, because nobody acts upon them.
        personal: parameters that take people's identifiers, which the model may know by a handle only.
        asked_as: further words by which users ask for this, such as `money back`.
        secondary: asked with the same arguments when this read can't be had; never asked for its own secondary.
        last_good_seconds: how old a value may be that stands in for this read when nobody else answers.
        bulkhead: calls at once in this process, where it is not the deployment's usual number.
        retries: further tries of a failed call, where it is not the deployment's usual number.
        context_parameter: name of the parameter that takes the `ToolContext`, if any.
    """

    name: str
    description: str
    parameters: Mapping[str, Any]
    function: Callable[..., Any]
    parse: Callable[[Mapping[str, Any]], dict[str, Any]]
    effect: Effect = "write"
    idempotent: bool = False
    reconcile: Callable[..., Any] | None = None
    timeout_seconds: float = 10.0
    trusted: tuple[str, ...] = ()
    egress: bool = False
    free_text: tuple[str, ...] = ()
    personal: tuple[str, ...] = ()
    asked_as: tuple[str, ...] = ()
    secondary: "Tool | None" = None
    last_good_seconds: float | None = None
    bulkhead: int | None = None
    retries: int | None = None
    is_async: bool = False
    context_parameter: str | None = None
    definition: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def may_repeat(self) -> bool:
        """Whether the same call may be made again when it is not known what became of it."""
        return self.effect == "read" or self.idempotent
