"""From a module of an agent project to the tools in it."""

import inspect
import re
from collections.abc import Callable
from types import ModuleType
from typing import Any

from handrail.core.documents import Problem, ProjectError
from handrail.core.tools import Tool
from handrail.serving.tools import signature
from handrail.serving.tools.arguments import Parser
from handrail.serving.tools.declaration import Declaration, declaration_of
from handrail.serving.tools.docstring import describe

# What providers accept as a function's name.
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


def collect(module: ModuleType) -> dict[str, Tool]:
    """Every function of `module` that is marked with `@tool`, those it imports from its siblings included.

    Raises:
        ProjectError: a marked function can't be a tool; all such functions are listed, with file and line.
    """
    tools: dict[str, Tool] = {}
    problems: list[Problem] = []
    for function, declaration in _marked(module):
        name = declaration.name
        try:
            if name in tools:
                raise signature.Unusable(["another tool has this name; give one of them name='...'"])
            tools[name] = _tool(function, declaration)
        except signature.Unusable as error:
            file, line = _place(function)
            problems.extend(Problem(file, line, f"tool {name!r}: {fault}") for fault in error.faults)
    if problems:
        raise ProjectError(problems)
    return tools


def _marked(module: ModuleType) -> list[tuple[Callable[..., Any], Declaration]]:
    found: dict[int, tuple[Callable[..., Any], Declaration]] = {}
    for value in vars(module).values():
        declaration = declaration_of(value)
        if declaration is not None:
            found[id(value)] = (value, declaration)
    return list(found.values())


def _tool(function: Callable[..., Any], declaration: Declaration) -> Tool:
    name = declaration.name
    if not _NAME.fullmatch(name):
        raise signature.Unusable(["a tool's name has 1 to 64 letters, digits, '_' or '-'; give it name='...'"])
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise signature.Unusable(["it yields; return one value instead"])
    if not inspect.getdoc(function):
        raise signature.Unusable(["it has no docstring; the agent reads there what the tool is for"])
    described = describe(inspect.getdoc(function) or "")
    read = signature.read(function, described)
    return Tool(
        name=name,
        description=described.summary,
        parameters=read.schema,
        function=function,
        parse=Parser(name, read.model, read.fields),
        effect=declaration.effect,
        idempotent=declaration.idempotent,
        reconcile=declaration.reconcile,
        timeout_seconds=declaration.timeout_seconds,
        trusted=declaration.trusted,
        is_async=inspect.iscoroutinefunction(inspect.unwrap(function)),
        context_parameter=read.context_parameter,
        definition={
            "type": "function",
            "function": {"name": name, "description": described.summary, "parameters": read.schema},
        },
    )


def _place(function: Callable[..., Any]) -> tuple[str, int]:
    code = getattr(inspect.unwrap(function), "__code__", None)
    return (code.co_filename, code.co_firstlineno) if code else (function.__module__, 0)
