"""Approval rules, compiled when a release is checked and judged at every tool call.

A rule that can't be judged matches, at the highest risk: an argument that is not there must not be the way past it.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

from jinja2 import StrictUndefined, TemplateError
from jinja2.meta import find_undeclared_variables
from jinja2.sandbox import ImmutableSandboxedEnvironment

from handrail.core.cel import cel
from handrail.core.documents import Document, Path, Problem, ProjectError
from handrail.core.principal import Principal
from handrail.core.tools import Tool
from handrail.oversight.approvals.records import Clause
from handrail.oversight.approvals.schema import ApprovalRule
from handrail.oversight.approvals.trial import trial

# CEL's converter is native and recursive: nesting without a bound would end the process.
MOST_NESTING = 64
MOST_REASON_CHARACTERS = 500

_FIELDS: Mapping[str, frozenset[str]] = {
    "tool": frozenset(),
    "args": frozenset(),
    "principal": frozenset({"subject", "roles", "tenant"}),
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
_FAILS = (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError)


class ConversationFacts(Protocol):
    """What rules see of a conversation."""

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
    """A tool call as rules see it. `arguments` are decoded JSON, as they were asked for."""

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
            },
            "conversation": {
                "id": conversation.id,
                "agent": conversation.agent,
                "channel": conversation.channel,
                "turn_count": conversation.turn_count,
            },
            "intent": self.intent,
        }


@dataclass(frozen=True, slots=True)
class Match:
    """A rule that asks for an approval, and what approvers are told; `is_judged` is false when it could not be."""

    rule: ApprovalRule
    reason: str
    is_judged: bool = True

    @property
    def clause(self) -> Clause:
        approvers, rule = self.rule.approvers, self.rule
        return Clause(rule.name, rule.votes, frozenset(approvers.roles), frozenset(approvers.teams), rule.escalate_to)


@dataclass(frozen=True, slots=True)
class CompiledRule:
    """One rule, ready to be judged."""

    rule: ApprovalRule
    program: cel.Program
    reads: tuple[str, ...]
    template: Any

    def judge(self, values: Mapping[str, Any]) -> Match | None:
        """Whether the rule matches a call with these values; it does too when it can't be judged."""
        if self.rule.tools is not None and values["tool"] not in self.rule.tools:
            return None
        failure = None
        try:
            outcome = self.program.execute({name: values[name] for name in self.reads})
        except _FAILS as error:
            failure = f"{error} is missing" if isinstance(error, KeyError) else f"{type(error).__name__}: {error}"
        else:
            if outcome is False:
                return None
            if outcome is not True:
                failure = f"it gave {outcome!r}, not true or false"
        return Match(self.rule, self._reason(values, failure), failure is None)

    def _reason(self, values: Mapping[str, Any], failure: str | None) -> str:
        if failure is not None:
            text = f"Rule {self.rule.name!r} could not be judged and so counts as matching ({failure})."
        elif self.template is None:
            text = f"Rule {self.rule.name!r} asks for an approval of {values['tool']!r}."
        else:
            try:
                text = str(self.template.render(values)).strip()
            except (TemplateError, *_FAILS) as error:
                text = f"Rule {self.rule.name!r} asks for an approval; its reason could not be written ({error})."
        return text if len(text) <= MOST_REASON_CHARACTERS else f"{text[: MOST_REASON_CHARACTERS - 1]}…"


@dataclass(frozen=True, slots=True)
class Rules:
    """All approval rules of a release."""

    rules: tuple[CompiledRule, ...] = ()

    def matching(self, facts: CallFacts) -> tuple[Match, ...]:
        """Every rule that asks for an approval of this call."""
        concerned = [each for each in self.rules if each.rule.tools is None or facts.tool in each.rule.tools]
        if not concerned:
            return ()
        if _nests_deeper(facts.arguments, MOST_NESTING):
            text = f"The arguments nest deeper than {MOST_NESTING} levels, so no rule can be judged and all match."
            return tuple(Match(each.rule, text, False) for each in concerned)
        values = facts.values()
        return tuple(match for each in concerned if (match := each.judge(values)) is not None)


def compile_rules(
    rules: Sequence[ApprovalRule],
    document: Document,
    tools: Mapping[str, Tool] | None = None,
    *,
    path: Path = ("approvals",),
) -> Rules:
    """The rules of a `policies.yaml`, ready to be judged.

    Args:
        document: the file, for the lines of what is wrong; `path` is where the rules stand in it.
        tools: those of the release; with them, unknown tools and arguments are found too.

    Raises:
        ProjectError: with every rule that does not compile, and why.
    """
    compiled: list[CompiledRule] = []
    problems: list[Problem] = []
    seen: set[str] = set()
    for index, rule in enumerate(rules):
        place = (*path, index)
        if rule.name in seen:
            problems.append(document.problem((*place, "name"), f"rule {rule.name!r} is given twice; rename one"))
        seen.add(rule.name)
        problems.extend(document.problem((*place, "tools"), text) for text in _tool_problems(rule, tools))
        program = _program(rule.when)
        reason = _template(rule.reason)
        if isinstance(program, str):
            problems.append(document.problem((*place, "when"), program))
        else:
            wrong = list(_name_problems(rule, program, tools)) or _tried(rule, program, tools)
            problems.extend(document.problem((*place, "when"), text) for text in wrong)
        if isinstance(reason, str):
            problems.append(document.problem((*place, "reason"), reason))
        if not isinstance(program, str) and not isinstance(reason, str):
            reads = tuple(name for name in program.variables() if name in _FIELDS)
            compiled.append(CompiledRule(rule, program, reads, reason))
    if problems:
        raise ProjectError(problems)
    return Rules(tuple(compiled))


def _program(source: str) -> "cel.Program | str":
    """The compiled condition, or what is wrong with it."""
    try:
        return cel.compile(source)
    except ValueError as error:
        reason = str(error).partition("ERROR: ")[2].partition("\n")[0] or str(error)
        return f"the condition {source!r} is not valid CEL: {reason}; mend the expression"


def _tool_problems(rule: ApprovalRule, tools: Mapping[str, Tool] | None) -> Iterator[str]:
    for name in rule.tools or ():
        if tools is not None and name not in tools:
            yield f"tool {name!r} does not exist; create it or use one of: {_listed(tools)}"


def _tried(rule: ApprovalRule, program: cel.Program, tools: Mapping[str, Tool] | None) -> list[str]:
    """What fails at every call of the rule's own tools."""
    known = {name: tools[name] for name in rule.tools or () if tools is not None and name in tools}
    return list(trial(rule.when, program, known))


def _name_problems(rule: ApprovalRule, program: cel.Program, tools: Mapping[str, Tool] | None) -> Iterator[str]:
    """Names that would make the rule fail, and so match, at every call."""
    code = _STRING.sub("''", rule.when)
    for name in sorted(set(program.variables()) - _FIELDS.keys() - _TYPE_NAMES - set(_BOUND.findall(code))):
        yield f"the condition {rule.when!r} reads {name!r}, which is not known; use one of: {_listed(_FIELDS)}"
    for name in sorted(set(program.functions()) - _FUNCTIONS):
        if not _OPERATOR.match(name):
            yield f"the condition {rule.when!r} calls {name!r}, which is not known; use one of: {_listed(_FUNCTIONS)}"
    fields = {**_FIELDS, "args": _arguments(rule, tools)}
    for owner, name in sorted(set(_FIELD.findall(code))):
        known = fields[owner]
        if known and name not in known:
            text = f"the condition {rule.when!r} reads '{owner}.{name}', which does not exist"
            yield f"{text}; use one of: {_listed({f'{owner}.{each}' for each in known})}"


def _arguments(rule: ApprovalRule, tools: Mapping[str, Tool] | None) -> frozenset[str]:
    """Arguments that the rule's tools take together; none when that can't be said."""
    if tools is None or rule.tools is None or any(name not in tools for name in rule.tools):
        return frozenset()
    names: set[str] = set()
    for schema in (tools[name].parameters for name in rule.tools):
        if schema.get("additionalProperties"):
            return frozenset()
        names.update(schema.get("properties", {}))
    return frozenset(names)


def _template(source: str | None) -> Any:
    """The compiled reason, None when there is none, or what is wrong with it as text."""
    if source is None:
        return None
    environment = _Sandbox(undefined=StrictUndefined, autoescape=False)
    try:
        unknown = find_undeclared_variables(environment.parse(source)) - _FIELDS.keys()
        if unknown:
            return f"the reason {source!r} names {_listed(unknown)}; it can name: {_listed(_FIELDS)}"
        return environment.from_string(source)
    except TemplateError as error:
        return f"the reason {source!r} does not compile: {error}; mend it"


class _Sandbox(ImmutableSandboxedEnvironment):
    """In `args.items`, `items` is the argument, not the method of Python's dict."""

    def getattr(self, obj: Any, attribute: str) -> Any:
        if isinstance(obj, dict) and attribute in obj:
            return cast("dict[str, Any]", obj)[attribute]
        return super().getattr(obj, attribute)


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
