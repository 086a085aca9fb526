"""Approval rules, compiled when a release is checked and judged at every tool call.

A rule that can't be judged matches, at the highest risk: an argument that is not there must not be the way past it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from jinja2 import StrictUndefined, TemplateError
from jinja2.meta import find_undeclared_variables
from jinja2.sandbox import ImmutableSandboxedEnvironment

from handrail.core.conditions import (
    FAILS,
    FIELDS,
    MOST_NESTING,
    CallFacts,
    Condition,
    NotJudged,
    compile_condition,
    is_judgeable,
)
from handrail.core.documents import Document, Path, Problem, ProjectError
from handrail.core.tools import Tool
from handrail.oversight.approvals.records import Clause
from handrail.oversight.approvals.schema import ApprovalRule

MOST_REASON_CHARACTERS = 500


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
    condition: Condition
    template: Any

    def judge(self, values: Mapping[str, Any]) -> Match | None:
        """Whether the rule matches a call with these values; it does too when it can't be judged."""
        if self.rule.tools is not None and values["tool"] not in self.rule.tools:
            return None
        failure = None
        try:
            if not self.condition.holds(values):
                return None
        except NotJudged as error:
            failure = str(error)
        return Match(self.rule, self._reason(values, failure), failure is None)

    def _reason(self, values: Mapping[str, Any], failure: str | None) -> str:
        if failure is not None:
            text = f"Rule {self.rule.name!r} could not be judged and so counts as matching ({failure})."
        elif self.template is None:
            text = f"Rule {self.rule.name!r} asks for an approval of {values['tool']!r}."
        else:
            try:
                text = str(self.template.render(values)).strip()
            except (TemplateError, *FAILS) as error:
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
        if not is_judgeable(facts.arguments):
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
        condition = compile_condition(rule.when, rule.tools, tools)
        reason = _template(rule.reason)
        if isinstance(condition, list):
            problems.extend(document.problem((*place, "when"), text) for text in condition)
        if isinstance(reason, str):
            problems.append(document.problem((*place, "reason"), reason))
        if not isinstance(condition, list) and not isinstance(reason, str):
            compiled.append(CompiledRule(rule, condition, reason))
    if problems:
        raise ProjectError(problems)
    return Rules(tuple(compiled))


def _tool_problems(rule: ApprovalRule, tools: Mapping[str, Tool] | None) -> Iterator[str]:
    for name in rule.tools or ():
        if tools is not None and name not in tools:
            yield f"tool {name!r} does not exist; create it or use one of: {_listed(tools)}"


def _template(source: str | None) -> Any:
    """The compiled reason, None when there is none, or what is wrong with it as text."""
    if source is None:
        return None
    environment = _Sandbox(undefined=StrictUndefined, autoescape=False)
    try:
        unknown = find_undeclared_variables(environment.parse(source)) - FIELDS.keys()
        if unknown:
            return f"the reason {source!r} names {_listed(unknown)}; it can name: {_listed(FIELDS)}"
        return environment.from_string(source)
    except TemplateError as error:
        return f"the reason {source!r} does not compile: {error}; mend it"


class _Sandbox(ImmutableSandboxedEnvironment):
    """In `args.items`, `items` is the argument, not the method of Python's dict."""

    def getattr(self, obj: Any, attribute: str) -> Any:
        if isinstance(obj, dict) and attribute in obj:
            return cast("dict[str, Any]", obj)[attribute]
        return super().getattr(obj, attribute)


def _listed(names: Any) -> str:
    return ", ".join(map(repr, sorted(names))) or "none"
