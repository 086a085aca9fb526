"""Tokens of one conversation: identifiers become handles before a model reads them, and values again behind it."""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from handrail.protection.privacy.finder import Finder
from handrail.protection.privacy.folding import without_escapes
from handrail.protection.privacy.handles import HANDLE, LOOK_ALIKE, TOKEN_KINDS, Mint, handles_in, undecided

# A value that was found once is hidden wherever it stands again, unless it is so short that it may be anything.
SHORTEST_KNOWN = 6
MOST_KNOWN = 500
# What nests deeper in an argument stays as it is: a handle in it is never revealed.
MOST_DEPTH = 60


@dataclass(frozen=True, slots=True)
class Token:
    """A handle and the value that it stands for."""

    handle: str
    kind: str
    value: str = field(repr=False)


class Tokens:
    """What one turn, or one reader, knows of a conversation's tokens.

    Args:
        kinds: which kinds of identifiers are hidden.
    """

    def __init__(
        self, mint: Mint, finder: Finder, tenant_id: str, conversation_id: str, kinds: Collection[str] = TOKEN_KINDS
    ) -> None:
        self.kinds = frozenset(kinds)
        self._mint = mint
        self._finder = finder
        self._tenant_id = tenant_id
        self._conversation_id = conversation_id
        self._by_handle: dict[str, Token] = {}
        self._by_value: dict[str, Token] = {}
        self._fresh: list[Token] = []
        self._hidden: dict[tuple[str, bool], str] = {}

    def hide(self, text: str, previous: str | None = None, *, is_own: bool = False) -> str:
        """The text with handles instead of identifiers; `previous` is the question that it answers.

        `is_own`: the agent wrote it, so a handle in it is what it seems to be.
        """
        key = (text, is_own)
        hidden = self._hidden.get(key)
        if hidden is None:
            hidden = self._hidden[key] = self._replaced(text, previous, is_own)
        return hidden

    def reveal(self, text: str) -> str:
        """The text with values instead of this conversation's handles; what is no handle of it stays as it is."""
        if "<" not in text:
            return text
        return HANDLE.sub(lambda found: token.value if (token := self._by_handle.get(found[0])) else found[0], text)

    def reveal_all(self, value: Any) -> Any:
        """The same of every text in a JSON value, at any depth; names of fields stay."""
        return _mapped(value, self.reveal)

    def hide_all(self, value: Any) -> Any:
        """The other way, for people who read it: a handle that is in it already stays one."""
        return _mapped(value, lambda text: self.hide(text, is_own=True))

    @property
    def has_any(self) -> bool:
        return bool(self._by_handle)

    def knows(self, handle: str) -> bool:
        return handle in self._by_handle

    def find(self, handles: Iterable[str]) -> list[Token]:
        return [self._by_handle[each] for each in handles if each in self._by_handle]

    def learn(self, tokens: Iterable[Token]) -> None:
        """Tokens that were stored before."""
        for token in tokens:
            self._by_handle.setdefault(token.handle, token)

    def take_fresh(self) -> Sequence[Token]:
        """What was met since this was asked last, to be stored."""
        fresh, self._fresh = self._fresh, []
        return fresh

    def _replaced(self, text: str, previous: str | None, is_own: bool) -> str:
        places = sorted(self._places(text, previous, is_own))
        if not places:
            return text
        pieces: list[str] = []
        at = 0
        for start, end, kind in places:
            if start >= at:
                pieces += (text[at:start], self._token(kind, text[start:end]).handle)
                at = end
        return "".join((*pieces, text[at:]))

    def _places(self, text: str, previous: str | None, is_own: bool) -> Iterator[tuple[int, int, str]]:
        """Where something is to be hidden; no two places overlap but those of known values, which begin later."""
        taken: list[tuple[int, int]] = []
        if "<" in text:
            for found in HANDLE.finditer(text):
                taken.append(found.span())
                if not is_own:
                    yield *found.span(), LOOK_ALIKE
        for span in self._finder.find(text, previous):
            if span.kind.lower() in self.kinds and not _overlap(taken, span.start, span.end):
                taken.append((span.start, span.end))
                yield span.start, span.end, span.kind.lower()
        plain = without_escapes(text)
        for value, token in list(self._by_value.items()):
            if len(value) >= SHORTEST_KNOWN and value in plain:
                for found in re.finditer(rf"(?<!\w){re.escape(value)}(?!\w)", plain):
                    if not _overlap(taken, *found.span()):
                        taken.append(found.span())
                        yield *found.span(), token.kind

    def _token(self, kind: str, value: str) -> Token:
        handle = self._mint.handle(self._tenant_id, self._conversation_id, kind, value)
        token = self._by_handle.get(handle)
        if token is None:
            token = self._by_handle[handle] = Token(handle, kind, value)
            self._fresh.append(token)
        if kind != LOOK_ALIKE and len(self._by_value) < MOST_KNOWN:
            self._by_value.setdefault(value, token)
        return token


class Revealing:
    """A streamed text on its way from the model: nothing but a handle that has begun is held back."""

    __slots__ = ("_held", "_tokens")

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self._held = ""

    def feed(self, text: str) -> str:
        if not self._held and "<" not in text:
            return text
        text = self._held + text
        end = undecided(text)
        self._held = text[end:]
        return self._tokens.reveal(text[:end])

    def close(self) -> str:
        held, self._held = self._held, ""
        return held


def unrevealed(value: Any, depth: int = MOST_DEPTH) -> list[str]:
    """Everything in a JSON value that has the form of a handle, names of fields included."""
    if isinstance(value, str):
        return handles_in(value)
    if depth and isinstance(value, Mapping):
        fields = cast("Mapping[str, Any]", value)
        return [each for name, inner in fields.items() for each in (*handles_in(name), *unrevealed(inner, depth - 1))]
    if depth and isinstance(value, list):
        return [each for inner in cast("list[Any]", value) for each in unrevealed(inner, depth - 1)]
    return []


def _mapped(value: Any, change: Callable[[str], str], depth: int = MOST_DEPTH) -> Any:
    if isinstance(value, str):
        return change(value)
    if depth and isinstance(value, Mapping):
        fields = cast("Mapping[str, Any]", value)
        return {name: _mapped(inner, change, depth - 1) for name, inner in fields.items()}
    if depth and isinstance(value, list | tuple):
        return [_mapped(inner, change, depth - 1) for inner in cast("Sequence[Any]", value)]
    return value


def _overlap(taken: Sequence[tuple[int, int]], start: int, end: int) -> bool:
    return any(start < other_end and other_start < end for other_start, other_end in taken)
