"""Tool results as evidence: which values their tools vouch for, which records they stand in, and what is mere text.

Pure. A trusted field is a path from the root of the result, such as `order_id` or `orders.total_cents`; lists are
passed through, and naming a field names all that is in it.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
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
        lists: the lists it stands in, each with its own place there; shared, for a list of thousands has thousands.
    """

    tool: str
    field: str
    value: Any
    beside: tuple[Any, ...]
    lists: tuple[tuple[Sequence[tuple[Any, ...]], int], ...] = ()

    @property
    def is_alone(self) -> bool:
        return all(len(records) == 1 for records, _ in self.lists)

    def rivals(self) -> Iterator[tuple[Any, ...]]:
        """What the tool vouches for in the other records of its lists."""
        for records, own in self.lists:
            yield from (record for place, record in enumerate(records) if place != own)


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
    for own, beside, lists in _records(result.content, (), (), (), vouched):
        for path, value in own:
            made.append(Fact(result.tool, path[-1] if path else "", value, _values(beside), lists))
    return made


Record = tuple[tuple[Path, Any], ...]
Lists = tuple[tuple[Sequence[tuple[Any, ...]], int], ...]


def _records(
    content: Any, path: Path, above: Record, lists: Lists, vouched: Callable[[Record], Record]
) -> Iterator[tuple[Record, Record, Lists]]:
    """Each mapping's own vouched-for values, those with the values of the mappings around it, and its lists."""
    if isinstance(content, Mapping):
        fields = cast("Mapping[str, Any]", content)
        own = vouched(_own(fields, path))
        beside = (*above, *own)
        yield own, beside, lists
        for key, value in fields.items():
            yield from _records(value, (*path, str(key)), beside, lists, vouched)
    elif isinstance(content, list):
        items = [cast("Mapping[str, Any]", each) for each in cast("list[Any]", content) if isinstance(each, Mapping)]
        all_of = [_values((*above, *vouched(_own(each, path)))) for each in items]
        for index, each in enumerate(items):
            yield from _records(each, path, above, (*lists, (all_of, index)), vouched)


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
    return any(path[: len(parts)] == parts for parts in (tuple(name.split(".")) for name in trusted))


def _spelling(value: Any) -> str:
    return str(value).strip().casefold()
