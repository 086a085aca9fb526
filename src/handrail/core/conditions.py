"""Conditions on tool calls in CEL: who may have one made, and which ones wait for people.

They are compiled, and tried on made-up calls, when a release is checked: what can never hold fails the release.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

from handrail.core.cel import cel, program_of
from handrail.core.principal import Principal
from handrail.core.tools import Tool
from handrail.core.trial import trial

# CEL's converter is native and recursive: nesting without a bound would end the process.
MOST_NESTING = 64
FIELDS: Mapping[str, frozenset[str]] = {
    "tool": frozenset(),
    "args": frozenset(),
    "principal": frozenset({"subject", "roles", "tenant", "scopes", "teams"}),
    "conversation": frozenset({"id", "agent", "channel", "turn_count"}),
    "intent": frozenset(),
}
# Not `uint`: no JSON number is one, so the condition would never hold.
_TYPE_NAMES = frozenset({"int", "double", "string", "bool", "list", "map", "null_type"})
_CONVERSIONS = frozenset({"int", "uint", "double", "string", "bytes", "dyn", "type", "timestamp", "duration"})
_CALENDAR = frozenset({"getFullYear", "getMonth", "getDate", "getDayOfMonth", "getDayOfWeek", "getDayOfYear"})
_TIME = frozenset({"getHours", "getMinutes", "getSeconds", "getMilliseconds"})
_FUNCTIONS = frozenset({"size", "contains", "startsWith", "endsWith", "matches"}) | _CONVERSIONS | _CALENDAR | _TIME
_OPERATOR = re.compile(r"[@_!-]")
_STRING = re.compile(r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"")
_BOUND = re.compile(r"\.(?:all|exists|exists_one|map|filter)\(\s*(\w+)\s*,")
_FIELD = re.compile(r"(?<![\w.])(args|principal|conversation)\.(\w+)\b(?!\s*\()")
FAILS = (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError)


class ConversationFacts(Protocol):
    """What conditions see of a conversation."""

    @property
    def id(self) -> str: ...
    @property
    def agent(self) -> str: ...
    @property
    def channel(self) -> str: ...
    @property
    def turn_count(self) -> int: ...


@dataclass(frozen=True, slots=True)
class CallFacts:
    """A tool call as conditions see it. `arguments` are decoded JSON, as they were asked for."""

    tool: str
    arguments: Mapping[str, Any]
    principal: Principal
    conversation: ConversationFacts
    intent: str | None = None

    def values(self) -> dict[str, Any]:
        principal, conversation = self.principal, self.conversation
        return {
            "tool": self.tool,
            "args": dict(self.arguments),
            "principal": {
                "subject": principal.subject,
                "roles": sorted(role.value for role in principal.roles),
                "tenant": principal.tenant_id,
                "scopes": sorted(principal.scopes),
                "teams": sorted(principal.teams),
            },
            "conversation": {
                "id": conversation.id,
                "agent": conversation.agent,
                "channel": conversation.channel,
                "turn_count": conversation.turn_count,
            },
            "intent": self.intent,
        }


class NotJudged(ValueError):
    """The condition says neither true nor false about this call; the message says why."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One compiled condition; `reads` are the facts that it names."""

    source: str
    program: cel.Program
    reads: tuple[str, ...]

    def holds(self, values: Mapping[str, Any]) -> bool:
        """What it says about a call with these values, which `is_judgeable` let pass.

        Raises:
            NotJudged: it can't say; what that means is the caller's rule.
        """
        try:
            outcome = self.program.execute({name: values[name] for name in self.reads})
        except FAILS as error:
            text = f"{error} is missing" if isinstance(error, KeyError) else f"{type(error).__name__}: {error}"
            raise NotJudged(text) from error
        if outcome is not True and outcome is not False:
            raise NotJudged(f"it gave {outcome!r}, not true or false")
        return outcome


def compile_condition(
    source: str, concerned: Sequence[str] | None, tools: Mapping[str, Tool] | None
) -> "Condition | list[str]":
    """The condition ready to be judged, or all that is wrong with it.

    Args:
        concerned: the tools it is about; None for every tool.
        tools: those of the release; with them, unknown arguments and what fails at every call are found too.
    """
    program = _program(source)
    if isinstance(program, str):
        return [program]
    known = {name: tools[name] for name in concerned or () if tools is not None and name in tools}
    wrong = list(_name_problems(source, program, concerned, tools)) or list(trial(source, program, known))
    return wrong or Condition(source, program, tuple(name for name in program.variables() if name in FIELDS))


def is_judgeable(arguments: Mapping[str, Any]) -> bool:
    """Whether arguments can be given to a condition at all."""
    return not _nests_deeper(arguments, MOST_NESTING)


def _program(source: str) -> "cel.Program | str":
    """The compiled condition, or what is wrong with it."""
    try:
        return program_of(source)
    except ValueError as error:
        reason = str(error).partition("ERROR: ")[2].partition("\n")[0] or str(error)
        return f"the condition {source!r} is not valid CEL: {reason}; mend the expression"


def _name_problems(
    source: str, program: cel.Program, concerned: Sequence[str] | None, tools: Mapping[str, Tool] | None
) -> Iterator[str]:
    """Names that would make the condition fail at every call."""
    code = _STRING.sub("''", source)
    for name in sorted(set(program.variables()) - FIELDS.keys() - _TYPE_NAMES - set(_BOUND.findall(code))):
        yield f"the condition {source!r} reads {name!r}, which is not known; use one of: {_listed(FIELDS)}"
    for name in sorted(set(program.functions()) - _FUNCTIONS):
        if not _OPERATOR.match(name):
            yield f"the condition {source!r} calls {name!r}, which is not known; use one of: {_listed(_FUNCTIONS)}"
    fields = {**FIELDS, "args": _arguments(concerned, tools)}
    for owner, name in sorted(set(_FIELD.findall(code))):
        known = fields[owner]
        if known and name not in known:
            text = f"the condition {source!r} reads '{owner}.{name}', which does not exist"
            yield f"{text}; use one of: {_listed({f'{owner}.{each}' for each in known})}"


def _arguments(concerned: Sequence[str] | None, tools: Mapping[str, Tool] | None) -> frozenset[str]:
    """Arguments that these tools take together; none when that can't be said."""
    if tools is None or concerned is None or any(name not in tools for name in concerned):
        return frozenset()
    names: set[str] = set()
    for schema in (tools[name].parameters for name in concerned):
        if schema.get("additionalProperties"):
            return frozenset()
        names.update(schema.get("properties", {}))
    return frozenset(names)


def _nests_deeper(value: object, most: int) -> bool:
    level: list[object] = [value]
    for _ in range(most + 1):
        level = [inner for each in level for inner in _parts(each)]
        if not level:
            return False
    return True


def _parts(value: object) -> Sequence[object]:
    if isinstance(value, Mapping):
        return list(cast("Mapping[object, object]", value).values())
    return cast("Sequence[object]", value) if isinstance(value, list | tuple) else ()


def _listed(names: Any) -> str:
    return ", ".join(map(repr, sorted(names))) or "none"
