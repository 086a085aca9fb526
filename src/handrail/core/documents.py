"""YAML text to data that still knows its lines, and schema errors that name file, line and mend."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import yaml
from pydantic import BaseModel, ValidationError

from handrail.core.errors import UsageError

Path = tuple[str | int, ...]
M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in one file. `line` counts from 1; 0 when the whole file is meant."""

    file: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}" if self.line else f"{self.file}: {self.message}"


class ProjectError(UsageError):
    """The agent project can't be used as it is; `problems` lists every place."""

    code = "invalid_project"

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed file: plain data, and the line of every path in it."""

    file: str
    data: Any
    lines: Mapping[Path, int]

    def line(self, path: Path) -> int:
        """The line of `path`, or of the nearest parent that stands in the file."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)

    def problem(self, path: Path, message: str) -> Problem:
        return Problem(self.file, self.line(path), message)


# References stand for what they name, so that a few lines can spell out millions of values.
MOST_VALUES = 100_000


class _Loader(yaml.SafeLoader):
    """Safe loading that refuses a key given twice: the second would silently win."""


def parse_yaml(file: str, text: str) -> Document:
    """Raises `ProjectError` for text that is not YAML or has a key twice."""
    node: yaml.Node | None = None
    try:
        # Read once: most of the time goes into finding the tokens, and both need the same nodes.
        loader = _Loader(text)
        node = loader.get_single_node()
        lines: dict[Path, int] = {}
        problems: list[Problem] = []
        if node is not None:
            _walk(node, (), lines, problems, file)
        if problems:
            raise ProjectError(problems)
        return Document(file, None if node is None else loader.construct_document(node), lines)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = getattr(error, "position", None)
        line = mark.line + 1 if mark else text.count("\n", 0, place) + 1 if isinstance(place, int) else 0
        what = getattr(error, "problem", None) or str(error)
        raise ProjectError([Problem(file, line, f"this is not valid YAML: {what}")]) from error
    except RecursionError as error:
        message = "this contains itself or is nested too deeply; write it out"
        raise ProjectError([Problem(file, 0, message)]) from error
    except (ValueError, ArithmeticError, LookupError, AttributeError, TypeError) as error:
        # A tag such as `!!bool` on a value that is none: the loader looks it up and fails in its own ways.
        raise ProjectError([_unreadable(file, node, error)]) from error


def validate(document: Document, schema: type[M]) -> M:
    """The document as `schema`, or a `ProjectError` with one problem a wrong value."""
    data: Any = {} if document.data is None else document.data
    try:
        return schema.model_validate(data)
    except ValidationError as error:
        raise ProjectError(list(_problems(document, schema, error))) from error


def _unreadable(file: str, node: yaml.Node | None, error: Exception) -> Problem:
    """Which value it is that the loader failed on."""
    for scalar in _scalars(node):
        try:
            _Loader("").construct_document(scalar)
        except (ValueError, ArithmeticError, LookupError, AttributeError, TypeError):
            kind = str(scalar.tag).rpartition(":")[2]
            return Problem(
                file, scalar.start_mark.line + 1, f"{_short(scalar.value)} can't be read as {kind}; quote it"
            )
    return Problem(file, 0, f"this has a value that can't be read: {error}")


def _scalars(node: Any) -> Iterator[yaml.ScalarNode]:
    if isinstance(node, yaml.ScalarNode):
        yield node
    elif isinstance(node, yaml.SequenceNode):
        for each in node.value:
            yield from _scalars(each)
    elif isinstance(node, yaml.MappingNode):
        for pair in node.value:
            for each in pair:
                yield from _scalars(each)


def _problems(document: Document, schema: type[BaseModel], error: ValidationError) -> Iterator[Problem]:
    for item in error.errors(include_url=False):
        path = item["loc"]
        name = ".".join(str(part) for part in path) or "the file"
        if item["type"] == "extra_forbidden":
            hint = f"{name!r} is not known here; remove it or check its spelling"
        elif item["type"] == "missing":
            hint = f"{name!r} is missing; add it"
        else:
            message = item["msg"].removeprefix("Value error, ")
            hint = f"{name}: {message} (got {_short(item['input'])})"
        yield document.problem(path, hint)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _walk(node: yaml.Node, path: Path, lines: dict[Path, int], problems: list[Problem], file: str) -> None:
    lines[path] = node.start_mark.line + 1
    if len(lines) > MOST_VALUES:
        message = f"this spells out more than {MOST_VALUES} values; use fewer references"
        raise ProjectError([Problem(file, node.start_mark.line + 1, message)])
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            name = str(cast(yaml.Node, key).value)
            if name in seen:
                problems.append(Problem(file, key.start_mark.line + 1, f"{name!r} is given twice; keep one"))
            seen.add(name)
            _walk(value, (*path, name), lines, problems, file)
            lines[(*path, name)] = key.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _walk(value, (*path, index), lines, problems, file)
