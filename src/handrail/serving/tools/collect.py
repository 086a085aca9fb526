"""From a module of an agent project to the tools in it."""

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import ModuleType
from typing import Any

from handrail.core.documents import Problem, ProjectError
from handrail.core.tools import Tool
from handrail.serving.tools import signature
from handrail.serving.tools.arguments import Parser
from handrail.serving.tools.declaration import Declaration, declaration_of
from handrail.serving.tools.docstring import Described, describe

# What providers accept as a function's name.
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


def collect(module: ModuleType) -> dict[str, Tool]:
    """Every function of `module` that is marked with `@tool`, those it imports from its siblings included.

    Raises:
        ProjectError: a marked function can't be a tool; all such functions are listed, with file and line.
    """
    tools: dict[str, Tool] = {}
    problems: list[Problem] = []
    marked = _marked(module)
    for function, declaration in marked:
        name = declaration.name
        try:
            if name in tools:
                raise signature.Unusable(["another tool has this name; give one of them name='...'"])
            tools[name] = _tool(function, declaration)
        except signature.Unusable as error:
            problems.extend(_problems(function, name, error))
    if problems:
        raise ProjectError(problems)
    with_secondary: dict[str, Tool] = {}
    for function, declaration in marked:
        try:
            with_secondary[declaration.name] = _with_secondary(tools[declaration.name], declaration, tools)
        except signature.Unusable as error:
            problems.extend(_problems(function, declaration.name, error))
    if problems:
        raise ProjectError(problems)
    return with_secondary


def _problems(function: Callable[..., Any], name: str, error: signature.Unusable) -> list[Problem]:
    file, line = _place(function)
    return [Problem(file, line, f"tool {name!r}: {fault}") for fault in error.faults]


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
    for option, named in (("free_text", declaration.free_text), ("personal", declaration.personal)):
        if unknown := sorted(set(named) - read.schema["properties"].keys()):
            raise signature.Unusable([f"{option}={unknown[0]!r} is not one of its parameters; check its spelling"])
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
        egress=declaration.egress,
        free_text=declaration.free_text,
        personal=declaration.personal,
        asked_as=declaration.asked_as,
        last_good_seconds=declaration.last_good_seconds,
        bulkhead=declaration.bulkhead,
        retries=declaration.retries,
        is_async=inspect.iscoroutinefunction(inspect.unwrap(function)),
        context_parameter=read.context_parameter,
        definition={
            "type": "function",
            "function": {"name": name, "description": described.summary, "parameters": read.schema},
        },
    )


def _with_secondary(tool: Tool, declaration: Declaration, tools: Mapping[str, Tool]) -> Tool:
    """The tool with what stands in for it, which must be a read that takes the same arguments."""
    asked = declaration.secondary
    if asked is None:
        return tool
    if isinstance(asked, str):
        if asked not in tools or asked == tool.name:
            known = ", ".join(sorted(tools.keys() - {tool.name})) or "none"
            raise signature.Unusable([f"secondary={asked!r} is no other tool of this project (known: {known})"])
        other = tools[asked]
    else:
        other = _from_function(tool, asked)
    if other.effect != "read":
        raise signature.Unusable([f"secondary {other.name!r} is a write; only a read may stand in for a read"])
    _require_same_arguments(tool, other)
    return replace(tool, secondary=other)


def _from_function(tool: Tool, function: Callable[..., Any]) -> Tool:
    """A function that no agent sees; what it is called there names its breaker and its bulkhead."""
    name = f"{tool.name}.{getattr(function, '__name__', 'secondary')}"
    read = signature.read(function, Described("", {}))
    return Tool(
        name=name,
        description="",
        parameters=read.schema,
        function=function,
        parse=Parser(name, read.model, read.fields),
        effect="read",
        timeout_seconds=tool.timeout_seconds,
        trusted=tool.trusted,
        egress=tool.egress,
        bulkhead=tool.bulkhead,
        is_async=inspect.iscoroutinefunction(inspect.unwrap(function)),
        context_parameter=read.context_parameter,
    )


def _require_same_arguments(tool: Tool, other: Tool) -> None:
    known, taken = tool.parameters["properties"], other.parameters["properties"]
    if lost := sorted(known.keys() - taken.keys()):
        raise signature.Unusable([f"secondary {other.name!r} does not take the argument {lost[0]!r}; add it there"])
    if missing := sorted(set(other.parameters.get("required", ())) - set(tool.parameters.get("required", ()))):
        raise signature.Unusable(
            [f"secondary {other.name!r} needs the argument {missing[0]!r}, which this tool may be called without"]
        )


def _place(function: Callable[..., Any]) -> tuple[str, int]:
    code = getattr(inspect.unwrap(function), "__code__", None)
    return (code.co_filename, code.co_firstlineno) if code else (function.__module__, 0)
