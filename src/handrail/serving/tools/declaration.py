"""The mark that makes a function a tool, and the one error whose text a tool shows to the agent."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar, cast, get_args, overload

from handrail.core.errors import HandrailError, UsageError
from handrail.core.tools import Effect

F = TypeVar("F", bound=Callable[..., Any])
MARK: Final = "__handrail_tool__"


class ToolError(HandrailError):
    """Raised by a tool to tell the agent, and so the user, why it can't do what was asked.

    It states that nothing was changed. The text of every other exception stays inside.
    """

    code = "tool_error"


class ToolUnavailable(HandrailError):
    """Raised by a tool when the system behind it can't serve now: nothing was changed, and trying again may help.

    Reads and idempotent writes are tried again, after `retry_after_seconds` if it is given; then the rest of the
    tool's ladder is taken. The text is for the agent, as a `ToolError`'s is.
    """

    code = "tool_unavailable"
    retryable = True


@dataclass(frozen=True, slots=True)
class Declaration:
    """What `@tool` was given; it hangs on the function, which stays as it was."""

    name: str
    effect: Effect
    idempotent: bool
    reconcile: Callable[..., Any] | None
    timeout_seconds: float
    trusted: tuple[str, ...]
    egress: bool
    free_text: tuple[str, ...]
    personal: tuple[str, ...]
    asked_as: tuple[str, ...]
    secondary: str | Callable[..., Any] | None
    last_good_seconds: float | None
    bulkhead: int | None
    retries: int | None


@overload
def tool(function: F, /) -> F: ...


@overload
def tool(
    *,
    effect: Effect = "write",
    idempotent: bool = False,
    reconcile: Callable[..., Any] | None = None,
    timeout_seconds: float = 10.0,
    trusted: Sequence[str] = (),
    egress: bool = False,
    free_text: Sequence[str] = (),
    personal: Sequence[str] = (),
    asked_as: Sequence[str] = (),
    secondary: str | Callable[..., Any] | None = None,
    last_good_seconds: float | None = None,
    bulkhead: int | None = None,
    retries: int | None = None,
    name: str | None = None,
) -> Callable[[F], F]: ...


def tool(
    function: F | None = None,
    /,
    *,
    effect: Effect = "write",
    idempotent: bool = False,
    reconcile: Callable[..., Any] | None = None,
    timeout_seconds: float = 10.0,
    trusted: Sequence[str] = (),
    egress: bool = False,
    free_text: Sequence[str] = (),
    personal: Sequence[str] = (),
    asked_as: Sequence[str] = (),
    secondary: str | Callable[..., Any] | None = None,
    last_good_seconds: float | None = None,
    bulkhead: int | None = None,
    retries: int | None = None,
    name: str | None = None,
) -> F | Callable[[F], F]:
    """Offer a typed function with a docstring to the agent. The function itself is returned unchanged.

    Args:
        function: the function, when the mark is used bare.
        effect: `read` changes nothing and may run beside other reads; undeclared means `write`.
        idempotent: doing it twice with one `ToolContext.idempotency_key` is doing it once.
        reconcile: asked after a timeout, with the same arguments, whether the effect happened.
        timeout_seconds: how long one attempt may take.
        trusted: fields of the result that come from the system of record: paths from its root, such as
            `orders.total_cents`; lists are passed through, and a name stands for all that is in it. All other text
            of the result is nobody's word: once the agent has read it, an action needs the user's own words.
        egress: a read whose arguments go to a place outside, such as a search of the web.
        free_text: parameters that may hold any words, because nobody acts upon them.
        personal: parameters that take people's identifiers (an e-mail address, a card, an IBAN): where the model knows
            one by a handle only, these get the value, and all others the handle.
        asked_as: further words by which users ask for this, such as `money back`.
        secondary: another read, by its tool's name or as a function, asked the same when this one can't answer.
        last_good_seconds: how old the last good answer to the same user's same question may be that stands in then.
        bulkhead: how many calls of it may run at once; the deployment's setting when left out.
        retries: how often a failed call is tried again; the deployment's setting when left out. A write that is not
            idempotent is tried once.
        name: what the agent calls it; the function's name when left out.
    """

    def mark(marked: F) -> F:
        if not _is_function(marked):
            raise UsageError(f"@tool goes on a function, not on {marked!r}")
        shown = name or cast(str, getattr(marked, "__name__", ""))
        declaration = Declaration(
            shown,
            effect,
            idempotent,
            reconcile,
            float(timeout_seconds),
            _names(trusted),
            egress,
            _names(free_text),
            _names(personal),
            _names(asked_as),
            secondary,
            last_good_seconds,
            bulkhead,
            retries,
        )
        _require_sense(declaration)
        setattr(marked, MARK, declaration)
        return marked

    return mark if function is None else mark(function)


def _is_function(candidate: object) -> bool:
    return inspect.isroutine(candidate) and hasattr(candidate, "__dict__")


def declaration_of(candidate: object) -> Declaration | None:
    """The declaration on a marked function; None for everything else."""
    found = candidate.__dict__.get(MARK) if _is_function(candidate) else None
    return found if isinstance(found, Declaration) else None


def _names(trusted: Sequence[str]) -> tuple[str, ...]:
    # A lone string is a sequence of letters: `trusted="total"` would trust the fields t, o, a and l.
    return (trusted,) if isinstance(trusted, str) else tuple(trusted)


def _require_sense(declaration: Declaration) -> None:
    if declaration.effect not in get_args(Effect):
        raise UsageError(f"@tool effect={declaration.effect!r} is not known; use 'read' or 'write'")
    if not declaration.timeout_seconds > 0:
        raise UsageError(f"@tool timeout_seconds={declaration.timeout_seconds!r} must be more than 0")
    if declaration.reconcile is not None and not callable(declaration.reconcile):
        raise UsageError(f"@tool reconcile={declaration.reconcile!r} must be a function")
    _require_sense_of_ladder(declaration)


def _require_sense_of_ladder(declaration: Declaration) -> None:
    """What stands in for a call, and how often it is made: only as far as its effect allows."""
    secondary, last_good = declaration.secondary, declaration.last_good_seconds
    if secondary is not None and not (isinstance(secondary, str) or callable(secondary)):
        raise UsageError(f"@tool secondary={secondary!r} must be the name of a tool or a function")
    if last_good is not None and not last_good > 0:
        raise UsageError(f"@tool last_good_seconds={last_good!r} must be more than 0")
    if declaration.bulkhead is not None and declaration.bulkhead < 1:
        raise UsageError(f"@tool bulkhead={declaration.bulkhead!r} must be at least 1")
    if declaration.retries is not None and declaration.retries < 0:
        raise UsageError(f"@tool retries={declaration.retries!r} must be at least 0")
    if declaration.effect == "read":
        return
    if secondary is not None or last_good is not None:
        given = "secondary" if secondary is not None else "last_good_seconds"
        raise UsageError(f"@tool {given} is for reads: a write is never answered from elsewhere; remove it")
    if declaration.retries and not declaration.idempotent:
        raise UsageError(
            f"@tool retries={declaration.retries!r} is for reads and idempotent writes: this one might happen twice; "
            "remove it, or declare idempotent=True if one idempotency_key makes it happen once"
        )
