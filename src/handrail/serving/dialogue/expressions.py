"""Templates and conditions of a flow: compiled when the flow is loaded, evaluated in the turn.

Templates are Jinja2 in a sandbox where an unknown name is an error. Conditions are CEL. Both see `slots`, `message`,
`error` inside `on_error`, and every saved result by its name.
"""

import datetime as dt
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from jinja2 import StrictUndefined, TemplateError, Undefined, nodes
from jinja2.defaults import DEFAULT_NAMESPACE
from jinja2.meta import find_undeclared_variables
from jinja2.sandbox import ImmutableSandboxedEnvironment

from handrail.core.cel import program_of
from handrail.core.errors import HandrailError

MOST_SHOWN = 200
_CURRENCIES = {"EUR": "€", "GBP": "£", "USD": "$"}
_INSIDE = re.compile(r"\{\{[-+]?(.*?)[-+]?\}\}", re.DOTALL)
_CEL_BOUND = re.compile(r"\.(?:all|exists|exists_one|map|filter)\(\s*(\w+)\s*,")
_CEL_SLOT = re.compile(r"\bslots\.(\w+)")
_CEL_TEXT = re.compile(r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"")


class ExpressionFailed(HandrailError):
    """A template or condition met data it was not written for."""

    code = "flow_expression_failed"


class ExpressionInvalid(ValueError):
    """A template or condition that can't be compiled; the message says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Expression:
    """A compiled template or condition, and what it reads: names, and slots by `slots.<name>`."""

    source: str
    evaluate: Callable[[Mapping[str, Any]], Any]
    names: frozenset[str] = frozenset()
    slots: frozenset[str] = frozenset()

    def text(self, values: Mapping[str, Any]) -> str:
        """What a `say`, an `ask` or a `confirm` puts before the user."""
        return str(self.evaluate(values)).strip()


def text_template(source: str) -> Expression:
    """A template that gives text. Raises `ExpressionInvalid`."""
    environment = _environment()
    tree = _parse(environment, source)
    render = environment.from_string(source).render
    return _template(source, tree, render)


def value_template(source: str) -> Expression:
    """A template that keeps the type of what it names when it is one `{{ expression }}` and nothing else."""
    environment = _environment()
    tree = _parse(environment, source)
    if not _is_one_expression(tree):
        return text_template(source)
    inner = _INSIDE.fullmatch(source.strip())
    if inner is None:
        return text_template(source)
    compiled = environment.compile_expression(inner[1], undefined_to_none=False)

    def evaluate(values: Mapping[str, Any]) -> Any:
        value = compiled(**values)
        # An undefined name comes back as an object; asking for its text raises the error that names it.
        return str(value) if isinstance(value, Undefined) else value

    return _template(source, tree, evaluate)


def literal(value: Any) -> Expression:
    """A value that is what it is."""
    return Expression(repr(value), lambda _values: value)


def condition(source: str) -> Expression:
    """A CEL condition. Raises `ExpressionInvalid`."""
    try:
        program = program_of(source)
    except ValueError as error:
        reason = str(error).partition("ERROR: ")[2].partition("\n")[0] or str(error)
        said = f"the condition {_short(source)} is not valid CEL: {reason}; mend the expression"
        raise ExpressionInvalid(said) from error

    # Every value handed over is converted, so only what the condition reads is.
    reads = program.variables()

    def evaluate(values: Mapping[str, Any]) -> bool:
        try:
            outcome = program.execute({name: values[name] for name in reads if name in values})
        except (RuntimeError, TypeError, ValueError, ArithmeticError, LookupError) as error:
            raise ExpressionFailed(f"the condition {source!r} failed: {error}") from error
        if not isinstance(outcome, bool):
            raise ExpressionFailed(f"the condition {source!r} gave {outcome!r}, not true or false; compare it")
        return outcome

    code = _CEL_TEXT.sub("''", source)
    names = frozenset(program.variables()) - frozenset(_CEL_BOUND.findall(code))
    return Expression(source, evaluate, names, frozenset(_CEL_SLOT.findall(code)))


def money(cents: int, currency: str = "EUR") -> str:
    """Cents as people write them: `{{ order.total_cents | money("EUR") }}` gives €49.00."""
    sign = "-" if cents < 0 else ""
    whole, rest = divmod(abs(int(cents)), 100)
    return f"{sign}{_CURRENCIES.get(currency, currency + ' ')}{whole:,}.{rest:02d}"


def day(date: str) -> str:
    """An ISO date as people say it: `{{ order.eta_on | day }}` gives 3 December 2026."""
    parsed = dt.date.fromisoformat(date)
    return f"{parsed.day} {parsed:%B %Y}"


def _template(source: str, tree: nodes.Template, render: Callable[..., Any]) -> Expression:
    def evaluate(values: Mapping[str, Any]) -> Any:
        try:
            return render(values)
        except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, RecursionError) as error:
            raise ExpressionFailed(f"the template {source!r} failed: {error}") from error

    slots = frozenset(
        found.attr
        for found in tree.find_all(nodes.Getattr)
        if isinstance(found.node, nodes.Name) and found.node.name == "slots"
    )
    names = find_undeclared_variables(tree) - set(DEFAULT_NAMESPACE)
    return Expression(source, evaluate, frozenset(names), slots)


def _parse(environment: "_Sandbox", source: str) -> nodes.Template:
    try:
        tree = environment.parse(source)
        environment.compile(tree)
        return environment.parse(source)
    except (TemplateError, ValueError, SyntaxError, RecursionError, MemoryError) as error:
        # Python's own compiler speaks up where the nesting is too deep or a number too long.
        raise ExpressionInvalid(f"the template {_short(source)} does not compile: {error}; mend it") from error


def _short(source: str) -> str:
    text = repr(source)
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}..."


def _is_one_expression(tree: nodes.Template) -> bool:
    if len(tree.body) != 1 or not isinstance(tree.body[0], nodes.Output):
        return False
    parts = tree.body[0].nodes
    return len(parts) == 1 and not isinstance(parts[0], nodes.TemplateData)


class _Sandbox(ImmutableSandboxedEnvironment):
    """In `order.items`, `items` is the key of the tool's result, not the method of Python's dict."""

    def getattr(self, obj: Any, attribute: str) -> Any:
        if isinstance(obj, dict) and attribute in obj:
            return cast("dict[str, Any]", obj)[attribute]
        return super().getattr(obj, attribute)


def _nothing_for_none(value: Any) -> Any:
    """A skipped slot is said as nothing, not as the word None."""
    return "" if value is None else value


def _environment() -> _Sandbox:
    environment = _Sandbox(undefined=StrictUndefined, autoescape=False, finalize=_nothing_for_none)
    environment.filters["money"] = money
    environment.filters["day"] = day
    return environment
