"""`instructions.md`: a template that can reach nothing but the values handed to it."""

import traceback
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateError, TemplateSyntaxError, nodes
from jinja2.defaults import DEFAULT_NAMESPACE
from jinja2.meta import find_undeclared_variables
from jinja2.sandbox import ImmutableSandboxedEnvironment

from handrail.core.documents import Problem, ProjectError

# Who is speaking is not among them: personal data goes to a provider only where a project says so.
OUR_VARIABLES = ("agent", "today", "intent")
KEPT_RENDERINGS = 256
_ELSEWHERE = (nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)
_FAILS = (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError)


class Instructions:
    """The instructions of one release. Renderings are kept per day and intent, for every turn asks for one.

    Args:
        file: the name that errors show.
        agent: what `agent.yaml` says about the agent, such as `name`.
        variables: the project's own, from `agent.yaml`.

    Raises:
        ProjectError: the text is no template, names what is not there, or fails with the values it will get.
    """

    def __init__(self, file: str, source: str, *, agent: Mapping[str, Any], variables: Mapping[str, Any]) -> None:
        self._values = {**variables, "agent": dict(agent)}
        self._renderings: dict[tuple[date, str | None], str] = {}
        if taken := [name for name in OUR_VARIABLES if name in variables]:
            message = f"variable {taken[0]!r} is always there; give yours another name"
            raise ProjectError([Problem("agent.yaml", 0, message)])
        self._template = _compile(file, source, {*OUR_VARIABLES, *variables})
        for intent in (None, "an_intent"):
            self._try(file, intent)

    def render(self, *, today: date, intent: str | None = None) -> str:
        key = (today, intent)
        text = self._renderings.get(key)
        if text is None:
            if len(self._renderings) >= KEPT_RENDERINGS:
                self._renderings.clear()
            text = self._renderings[key] = self._render(today, intent)
        return text

    def _render(self, today: date, intent: str | None) -> str:
        return self._template.render(self._values, today=today, intent=intent).strip()

    def _try(self, file: str, intent: str | None) -> None:
        try:
            self._render(date(2026, 1, 31), intent)
        except _FAILS as error:
            message = f"the template fails when intent is {intent!r}: {error}"
            raise ProjectError([Problem(file, _line_of(error, file), message)]) from error


def _compile(file: str, source: str, known: set[str]) -> Template:
    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False)
    try:
        tree = environment.parse(source, filename=file)
        problems = list(_problems(tree, file, known | environment.globals.keys()))
        if not problems:
            code = environment.compile(source, filename=file)
            return environment.template_class.from_code(environment, code, environment.make_globals(None))
    except TemplateSyntaxError as error:
        problems = [Problem(file, error.lineno, f"this is not a valid template: {error.message}")]
    raise ProjectError(problems)


def _problems(tree: nodes.Template, file: str, known: set[str]) -> Iterator[Problem]:
    for node in tree.find_all(_ELSEWHERE):
        yield Problem(file, node.lineno, "instructions can't include other templates; write the text here")
    unknown = find_undeclared_variables(tree) - known
    seen: set[str] = set()
    for node in tree.find_all(nodes.Name):
        if node.name in unknown and node.name not in seen:
            seen.add(node.name)
            names = ", ".join(map(repr, sorted(known - DEFAULT_NAMESPACE.keys())))
            yield Problem(file, node.lineno, f"{node.name!r} is not known here; use one of {names}")


def _line_of(error: BaseException, file: str) -> int:
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return (lines[-1] or 0) if lines else 0
