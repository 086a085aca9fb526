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


@dataclass(frozen=True, slots=True)
class Declaration:
    """What `@tool` was given; it hangs on the function, which stays as it was."""

    name: str
    effect: Effect
    idempotent: bool
    reconcile: Callable[..., Any] | None
    timeout_seconds: float
    trusted: tuple[str, ...]


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
    name: str | None = None,
) -> F | Callable[[F], F]:
    """Offer a typed function with a docstring to the agent. The function itself is returned unchanged.

    Args:
        function: the function, when the mark is used bare.
        effect: `read` changes nothing and may run beside other reads; undeclared means `write`.
        idempotent: doing it twice with one `ToolContext.idempotency_key` is doing it once.
        reconcile: asked after a timeout, with the same arguments, whether the effect happened.
        timeout_seconds: how long one attempt may take.
        trusted: fields of the result that come from the system of record.
        name: what the agent calls it; the function's name when left out.
    """

    def mark(marked: F) -> F:
        if not _is_function(marked):
            raise UsageError(f"@tool goes on a function, not on {marked!r}")
        shown = name or cast(str, getattr(marked, "__name__", ""))
        declaration = Declaration(shown, effect, idempotent, reconcile, float(timeout_seconds), _names(trusted))
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
