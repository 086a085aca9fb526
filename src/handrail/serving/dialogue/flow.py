"""From a flow file to a compiled flow: every expression compiled, every name checked, every mistake with its line."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import JsonValue

from handrail.core.documents import Document, Path, Problem, ProjectError, parse_yaml, validate
from handrail.core.tools import Tool
from handrail.serving.dialogue.expressions import (
    Expression,
    ExpressionInvalid,
    condition,
    literal,
    text_template,
    value_template,
)
from handrail.serving.dialogue.schema import FlowFile, Slot, Step

_ALWAYS_KNOWN = frozenset({"slots", "message"})
_RESERVED = _ALWAYS_KNOWN | {"error"}


@dataclass(frozen=True, slots=True)
class Node:
    """One step with its place: `path` names it for good within a release, `next` is what comes after it."""

    path: str
    step: Step
    next: str | None
    branches: Mapping[str, str]
    expression: Expression | None = None
    arguments: Mapping[str, Expression] | None = None
    writes: bool = False
    acts_outside: bool = False
    stale: Expression | None = None


@dataclass(frozen=True, slots=True)
class Flow:
    """A flow file, ready to be played. `trusted` is what the tools vouch for in each saved result."""

    name: str
    description: str
    file: str
    slots: Mapping[str, Slot]
    questions: Mapping[str, Expression]
    hints: Mapping[str, Expression]
    saves: frozenset[str]
    trusted: Mapping[str, tuple[str, ...]]
    nodes: Mapping[str, Node]
    first: str


def load_flow(file: str, text: str, tools: Mapping[str, Tool], knowledge_files: Collection[str] | None = None) -> Flow:
    """The flow in `text`. `knowledge_files` are paths such as `knowledge/returns.md`; None leaves them unchecked.

    Raises:
        ProjectError: with every problem in the file, each with its line.
    """
    document = parse_yaml(file, text)
    flow = _Compiler(document, validate(document, FlowFile), tools, knowledge_files)
    return flow.compile()


class _Compiler:
    """Walks the steps in the order of the file and remembers which names are known so far."""

    def __init__(
        self, document: Document, source: FlowFile, tools: Mapping[str, Tool], knowledge_files: Collection[str] | None
    ) -> None:
        self._document = document
        self._source = source
        self._tools = tools
        self._knowledge_files = knowledge_files
        self._problems: list[Problem] = []
        self._nodes: dict[str, Node] = {}
        self._known = set(_ALWAYS_KNOWN)
        self._saves: set[str] = set()
        self._trusted: dict[str, tuple[str, ...]] = {}
        self._collected: set[str] = set()

    def compile(self) -> Flow:
        questions: dict[str, Expression] = {}
        hints: dict[str, Expression] = {}
        first = self._sequence(self._source.steps, ("steps",), None)
        # Questions may name saved results too, so they are read after the steps.
        for name, slot in self._source.slots.items():
            questions[name] = self._expression(text_template, slot.ask, ("slots", name, "ask"))
            if slot.hint is not None:
                hints[name] = self._expression(text_template, slot.hint, ("slots", name, "hint"))
            if name not in self._collected and not slot.from_message:
                self._problem(("slots", name), f"slot {name!r} is never collected; add a 'collect' step or remove it")
        if self._problems or first is None:
            raise ProjectError(self._problems)
        source = self._source
        return Flow(
            source.name,
            source.description,
            self._document.file,
            source.slots,
            questions,
            hints,
            frozenset(self._saves),
            self._trusted,
            self._nodes,
            first,
        )

    def _sequence(self, steps: list[Step], path: Path, after: str | None) -> str | None:
        for index, step in enumerate(steps):
            following = _name((*path, index + 1)) if index + 1 < len(steps) else after
            self._step(step, (*path, index), following)
        return _name((*path, 0)) if steps else after

    def _step(self, step: Step, path: Path, following: str | None) -> None:
        expression, arguments = self._own(step, path)
        branches = {
            key: first
            for key, steps in step.branches().items()
            if (first := self._branch(key, steps, path, following if step.verb == "if" else None))
        }
        if step.save is not None:
            self._save(step.save, path, self._tools.get(step.call or ""))
        ends = step.verb in ("handoff", "end")
        tool = self._tools.get(step.call or "")
        writes = tool is not None and tool.effect == "write"
        name = _name(path)
        self._nodes[name] = Node(
            name,
            step,
            None if ends else following,
            branches,
            expression,
            arguments,
            writes,
            writes or (tool is not None and tool.egress),
            self._stale(step, path),
        )

    def _branch(self, key: str, steps: list[Step], path: Path, after: str | None) -> str | None:
        outside = self._known
        self._known = outside | ({"error"} if key == "on_error" else set())
        first = self._sequence(steps, (*path, key), after)
        self._known = (self._known - {"error"}) | outside
        return first

    def _own(self, step: Step, path: Path) -> tuple[Expression | None, dict[str, Expression] | None]:
        match step.verb:
            case "say":
                return self._expression(text_template, step.say or "", (*path, "say")), None
            case "confirm":
                return self._expression(text_template, step.confirm or "", (*path, "confirm")), None
            case "if":
                return self._expression(condition, step.if_ or "", (*path, "if")), None
            case "answer" if step.answer is not None:
                self._check_knowledge(step.answer.knowledge, path)
                query = step.answer.query or "{{ message }}"
                return self._expression(text_template, query, (*path, "answer", "query")), None
            case "handoff" if step.handoff is not None:
                return self._expression(text_template, step.handoff.reason, (*path, "handoff", "reason")), None
            case "call":
                return None, self._call(step, path)
            case _:
                self._check_collect(step, path)
                return None, None

    def _check_collect(self, step: Step, path: Path) -> None:
        if step.collect is None:
            return
        self._collected.add(step.collect)
        if step.collect not in self._source.slots:
            self._problem((*path, "collect"), _unknown("slot", step.collect, self._source.slots))

    def _check_knowledge(self, file: str | bool, path: Path) -> None:
        files = self._knowledge_files
        if files is not None and isinstance(file, str) and f"knowledge/{file}" not in files:
            known = [name.removeprefix("knowledge/") for name in files]
            self._problem((*path, "answer", "knowledge"), _unknown("knowledge file", file, known))

    def _call(self, step: Step, path: Path) -> dict[str, Expression]:
        tool = self._tools.get(step.call or "")
        if tool is None:
            self._problem((*path, "call"), _unknown("tool", step.call or "", self._tools))
        else:
            self._check_arguments(tool, step.with_, path)
        return {name: self._value(value, (*path, "with", name)) for name, value in step.with_.items()}

    def _stale(self, step: Step, path: Path) -> Expression | None:
        if step.stale is None:
            return None
        place = (*path, "stale")
        before = self._known
        self._known = before | {"age"}
        sentence = self._expression(text_template, step.stale, place)
        self._known = before
        if "age" not in sentence.names:
            self._problem(place, "'stale' must say how old the value is; put {{ age }} into it")
        return sentence

    def _check_arguments(self, tool: Tool, given: Mapping[str, JsonValue], path: Path) -> None:
        known: Mapping[str, Any] = tool.parameters.get("properties", {})
        for name in given:
            if name not in known:
                self._problem((*path, "with", name), _unknown(f"argument of {tool.name}", name, known))
        for name in tool.parameters.get("required", ()):
            if name not in given:
                self._problem((*path, "call"), f"{tool.name} needs the argument {name!r}; add it under 'with'")

    def _save(self, name: str, path: Path, tool: Tool | None) -> None:
        if name in _RESERVED:
            self._problem((*path, "save"), f"{name!r} has a meaning of its own here; save under another name")
        self._known.add(name)
        self._saves.add(name)
        trusted = tool.trusted if tool is not None else ()
        if tool is not None and tool.secondary is not None:
            trusted = tuple(each for each in trusted if each in tool.secondary.trusted)
        # Two tools may save under one name: what counts then is what both vouch for.
        self._trusted[name] = tuple(each for each in self._trusted.get(name, trusted) if each in trusted)

    def _value(self, value: JsonValue, path: Path) -> Expression:
        """Templates inside lists and mappings are filled in as well."""
        if isinstance(value, str):
            return self._expression(value_template, value, path)
        if isinstance(value, list):
            items = [self._value(item, (*path, index)) for index, item in enumerate(value)]
            return Expression(repr(value), lambda values: [item.evaluate(values) for item in items])
        if isinstance(value, dict):
            entries = {key: self._value(item, (*path, key)) for key, item in value.items()}
            return Expression(repr(value), lambda values: {key: item.evaluate(values) for key, item in entries.items()})
        return literal(value)

    def _expression(self, compile_: Callable[[str], Expression], source: str, path: Path) -> Expression:
        try:
            expression = compile_(source)
        except ExpressionInvalid as error:
            self._problem(path, str(error))
            return literal("")
        for name in sorted(expression.names - self._known):
            self._problem(path, _unknown("name", name, self._known, "save a tool's result under it first"))
        for slot in sorted(expression.slots - self._source.slots.keys()):
            self._problem(path, _unknown("slot", slot, self._source.slots))
        return expression

    def _problem(self, path: Path, message: str) -> None:
        self._problems.append(self._document.problem(path, message))


def _name(path: Path) -> str:
    return ".".join(str(part) for part in path[1:])


def _unknown(what: str, name: str, known: Collection[str], mend: str = "check its spelling") -> str:
    listed = ", ".join(sorted(known)) or "none"
    return f"{what} {name!r} is not known; {mend} (known: {listed})"
