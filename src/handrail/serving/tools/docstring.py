"""What a tool's docstring tells the model: the first paragraph, and a line for each argument."""

import inspect
import re
from dataclasses import dataclass

_SECTION = re.compile(r"^(Args|Arguments|Parameters|Returns|Raises|Yields|Examples?|Notes?):\s*$")
_ARGUMENT = re.compile(r"^\*{0,2}(\w+)\s*(?:\([^)]*\))?:\s*(.*)$")


@dataclass(frozen=True, slots=True)
class Described:
    """`summary` is one line of text; `arguments` maps names to their descriptions."""

    summary: str
    arguments: dict[str, str]


def describe(docstring: str) -> Described:
    """Read a Google-style docstring; text of other styles ends up in the summary or is left out."""
    lines = inspect.cleandoc(docstring).splitlines()
    summary: list[str] = []
    for line in lines:
        if _SECTION.match(line) or (summary and not line.strip()):
            break
        summary.append(line.strip())
    return Described(" ".join(part for part in summary if part), _arguments(lines))


def _arguments(lines: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    indent: int | None = None
    current: str | None = None
    for line in _section(lines, {"Args", "Arguments", "Parameters"}):
        depth = len(line) - len(line.lstrip())
        indent = depth if indent is None else indent
        begins = _ARGUMENT.match(line.strip()) if depth <= indent else None
        if begins:
            current = str(begins[1])
            found[current] = str(begins[2])
        elif current:
            found[current] = f"{found[current]} {line.strip()}".strip()
    return found


def _section(lines: list[str], titles: set[str]) -> list[str]:
    inside = False
    taken: list[str] = []
    for line in lines:
        heading = _SECTION.match(line)
        if heading:
            inside = heading[1] in titles
        elif inside and line.strip():
            if not line.startswith((" ", "\t")):
                break
            taken.append(line)
    return taken
