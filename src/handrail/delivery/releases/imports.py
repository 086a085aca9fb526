"""Project files import each other relatively: only so can two releases live in one process."""

import ast
import sys
from collections.abc import Iterator
from pathlib import PurePosixPath

from handrail.core.documents import Problem
from handrail.delivery.releases.sources import Sources


def check_imports(sources: Sources) -> list[Problem]:
    """A problem for each absolute import of a project file, and for each file that is not Python."""
    ours = {PurePosixPath(path).parts[0].removesuffix(".py") for path in sources.python()}
    return [problem for path in sources.python() for problem in _check(path, sources.files[path], ours)]


def _check(path: str, source: bytes, ours: set[str]) -> Iterator[Problem]:
    try:
        tree = ast.parse(source, path)
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None) or 0
        yield Problem(path, line, f"this is not valid Python: {getattr(error, 'msg', error)}")
        return
    for node in ast.walk(tree):
        for name, written, mend in _absolute(node):
            if name.partition(".")[0] in ours:
                yield Problem(path, node.lineno, _message(name, written, mend, path))  # pyright: ignore[reportAttributeAccessIssue]


def _absolute(node: ast.AST) -> Iterator[tuple[str, str, str]]:
    """Module name, the statement as written, and how to write it relatively."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            parent, _, last = alias.name.rpartition(".")
            yield alias.name, f"import {alias.name}", f"from {{dots}}{parent} import {last}"
    elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
        names = ", ".join(alias.name for alias in node.names)
        yield node.module, f"from {node.module} import {names}", f"from {{dots}}{node.module} import {names}"
    elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        name = node.args[0].value
        if called in ("import_module", "__import__") and isinstance(name, str) and not name.startswith("."):
            parent, _, last = name.rpartition(".")
            yield name, f"{called}({name!r})", f"from {{dots}}{parent} import {last}"


def _message(name: str, written: str, mend: str, path: str) -> str:
    dots = "." * len(PurePosixPath(path).parts)
    relative = mend.format(dots=dots)
    hint = f"{written!r} imports a project file by an absolute name; write {relative!r}"
    if name.partition(".")[0] in sys.stdlib_module_names:
        hint += f", or rename {name.partition('.')[0]!r} if you mean the standard library"
    return hint
