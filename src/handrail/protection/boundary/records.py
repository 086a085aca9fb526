"""Tool results as evidence: which values their tools vouch for, which records they stand in, and what is mere text.

Pure. A trusted field is a path from the root of the result, such as `order_id` or `orders.total_cents`; lists are
passed through, and naming a field names all that is in it.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

_PLAIN_KEY = re.compile(r"[A-Za-z][\w-]{0,39}")
Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Result:
    """What a tool call came to, and what its tool declares of it."""

    tool: str
    arguments: Mapping[str, Any]
    content: Any
    trusted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Fact:
    """A value that a tool vouches for.

    Attributes:
        beside: what it vouches for in the same record, and in those around it.
        rivals: the same of the other records of its list.
    """

    tool: str
    field: str
    value: Any
    beside: tuple[Any, ...]
    rivals: tuple[tuple[Any, ...], ...]


def untrusted_texts(result: Result) -> Iterator[tuple[str, str]]:
    """Where text stands that nobody vouches for, and the text: anything a reader could take for words."""
    for path, value in _leaves(result.content, ()):
        if isinstance(value, str) and any(map(str.isalpha, value)) and not _is_trusted(path, result.trusted):
            yield ".".join((result.tool, *path)), value
        for key in path:
            if not _PLAIN_KEY.fullmatch(key):
                yield f"{result.tool} (a key)", key


def facts(result: Result) -> list[Fact]:
    """Every value its tool vouches for. What only repeats an argument of the call is none: the model wrote that."""
    echoes = {_spelling(value) for _, value in _leaves(result.arguments, ())}

    def vouched(record: Record) -> Record:
        return tuple(
            (path, value)
            for path, value in record
            if _is_trusted(path, result.trusted) and _spelling(value) not in echoes
        )

    made: list[Fact] = []
    for own, record, rivals in _records(result.content, (), (), ()):
        beside = _values(vouched(record))
        others = tuple(_values(vouched(rival)) for rival in rivals)
        for path, value in vouched(own):
            made.append(Fact(result.tool, path[-1] if path else "", value, beside, others))
    return made


Record = tuple[tuple[Path, Any], ...]


def _records(
    content: Any, path: Path, above: Record, rivals: tuple[Record, ...]
) -> Iterator[tuple[Record, Record, tuple[Record, ...]]]:
    """Each mapping's own values, those with the values of the mappings around it, and the other records of its list."""
    if isinstance(content, Mapping):
        fields = cast("Mapping[str, Any]", content)
        own = _own(fields, path)
        yield own, (*above, *own), rivals
        for key, value in fields.items():
            yield from _records(value, (*path, str(key)), (*above, *own), rivals)
    elif isinstance(content, list):
        items = [cast("Mapping[str, Any]", each) for each in cast("list[Any]", content) if isinstance(each, Mapping)]
        own_of = [(*above, *_own(each, path)) for each in items]
        for index, each in enumerate(items):
            others = tuple(own_of[:index] + own_of[index + 1 :])
            yield from _records(each, path, above, (*rivals, *others))


def _values(record: Record) -> tuple[Any, ...]:
    return tuple(value for _, value in record)


def _own(fields: Mapping[str, Any], path: Path) -> Record:
    """The plain values of a mapping, lists of plain values included."""
    own: list[tuple[Path, Any]] = []
    for key, value in fields.items():
        if isinstance(value, list):
            plain = [each for each in cast("list[Any]", value) if not isinstance(each, (Mapping, list))]
            own += [((*path, key), each) for each in plain]
        elif not isinstance(value, Mapping):
            own.append(((*path, key), value))
    return tuple(own)


def _leaves(value: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    if isinstance(value, Mapping):
        for key, each in cast("Mapping[str, Any]", value).items():
            yield from _leaves(each, (*path, str(key)))
    elif isinstance(value, list):
        for each in cast("list[Any]", value):
            yield from _leaves(each, path)
    else:
        yield path, value


def without_untrusted(content: Any, trusted: Sequence[str], path: Path = ()) -> Any:
    """The same content with other values wherever nobody vouches for them: what then changes has hung on those."""
    if isinstance(content, Mapping):
        fields = cast("Mapping[str, Any]", content)
        return {key: without_untrusted(value, trusted, (*path, str(key))) for key, value in fields.items()}
    if isinstance(content, list):
        return [without_untrusted(each, trusted, path) for each in cast("list[Any]", content)]
    if content is None or _is_trusted(path, trusted):
        return content
    if isinstance(content, bool):
        return not content
    return content + 1 if isinstance(content, (int, float)) else f"{content}\N{SYMBOL FOR NULL}"


def leaves(value: Any) -> Iterator[Any]:
    """The plain values inside lists and mappings."""
    return (each for _, each in _leaves(value, ()))


def _is_trusted(path: Path, trusted: Sequence[str]) -> bool:
    shown = ".".join(path)
    return any(shown == name or shown.startswith(f"{name}.") for name in trusted)


def _spelling(value: Any) -> str:
    return str(value).strip().casefold()
