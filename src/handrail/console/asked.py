"""What the address of a page asks for: a slip of the hand is told, and never answered with something else."""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TypeVar

from handrail.core.errors import NotFound, UsageError

T = TypeVar("T")
_SHOWN = 80


def require_asked(given: Iterable[str], known: Collection[str]) -> None:
    """Raises `UsageError` for a parameter that the page does not have."""
    for name in given:
        if name not in known:
            shown = name[:_SHOWN]
            raise UsageError(f"this page has no filter {shown!r}; there are: {', '.join(known)}", param=shown)


def read_asked(
    given: Mapping[str, str], read: Callable[[Mapping[str, str]], T]
) -> tuple[Mapping[str, str], T, UsageError | None]:
    """What is read of an address, and of what; without what is wrong in it, and with the first mistake."""
    first: UsageError | None = None
    while True:
        try:
            return given, read(given), first
        except UsageError as wrong:
            first = first or wrong
            given = {name: each for name, each in given.items() if name != wrong.param} if wrong.param in given else {}


def status_of(error: UsageError | None) -> int:
    """Of a page that says what was wrong with its address."""
    return 200 if error is None else 404 if isinstance(error, NotFound) else 422


def said(error: UsageError | None, *, instead: str = "") -> str | None:
    """As a sentence, with what is shown `instead`."""
    return None if error is None else f"{error.message}.{f' {instead}' if instead else ''}"
