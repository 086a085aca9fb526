"""Is this a project that can be released? Every file is read, and every problem of every file is told at once."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from handrail.core.conditions import Condition, compile_condition
from handrail.core.documents import Document, Problem, ProjectError, parse_yaml, validate
from handrail.core.tools import Tool
from handrail.delivery.evals import TestFile
from handrail.delivery.releases import LoadedPackage, Loader, Sources, project_path
from handrail.flows.policies import Policies
from handrail.oversight.approvals import Rules, compile_rules
from handrail.protection.guardrails import unknown_categories
from handrail.serving.agents.schema import NO_MODEL, AgentConfig
from handrail.serving.context import Instructions
from handrail.serving.dialogue import Flow, FlowFile, load_flow
from handrail.serving.models.schema import ModelConfig, ModelTiers
from handrail.serving.routing import Intents
from handrail.serving.tools import collect

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class CheckedProject:
    """An agent project without a problem. `package` keeps its code loaded."""

    sources: Sources
    package: LoadedPackage
    config: AgentConfig
    models: Mapping[str, ModelConfig]
    instructions: Instructions
    tools: Mapping[str, Tool]
    flows: Mapping[str, Flow]
    intents: Intents | None
    policies: Policies
    approval_rules: Rules
    permission_conditions: Mapping[str, Condition]
    tests: Mapping[str, TestFile]


def check(sources: Sources, loader: Loader, tenant_id: str = "default") -> CheckedProject:
    """The project, ready to be released. Imports its code, so only operators may have this done.

    Raises:
        ProjectError: with all problems of all files, in the order of files and lines.
    """
    return _Check(sources).run(loader, tenant_id)


class _Check:
    """Goes on after a problem, as far as what is left still makes sense without the broken part."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._problems: list[Problem] = []
        self._documents: dict[str, Document] = {}

    def run(self, loader: Loader, tenant_id: str) -> CheckedProject:
        config = self._try(lambda: validate(self._document("agent.yaml"), AgentConfig))
        models = self._try(self._models)
        instructions = config and self._try(lambda: self._instructions(config))
        package = self._try(lambda: loader.load(self._sources, tenant_id))
        tools = package and self._try(lambda: collect(package.tools) if package.tools else {})
        flows = self._flows(tools)
        intents = self._optional("intents.yaml", Intents)
        policies = self._optional("policies.yaml", Policies) or Policies()
        rules = self._approval_rules(policies, tools)
        conditions = self._permission_conditions(policies, tools)
        tests = self._tests()
        self._problems.extend(self._guardrail_problems(policies))
        if tools is not None:
            self._problems.extend(self._policy_problems(policies, tools))
        if intents is not None:
            self._problems.extend(self._intent_problems(intents, flows, tools))
        self._problems.extend(self._test_problems(tests, intents, tools))
        if self._problems or config is None or models is None or instructions is None or package is None:
            raise ProjectError(_in_order(self._problems))
        return CheckedProject(
            sources=self._sources,
            package=package,
            config=config,
            models=models.root,
            instructions=instructions,
            tools=tools or {},
            flows={flow.name: flow for flow in flows.values() if flow is not None},
            intents=intents,
            policies=policies,
            approval_rules=rules or Rules(),
            permission_conditions=conditions,
            tests={path: test for path, test in tests.items() if test is not None},
        )

    def _try(self, step: Callable[[], T]) -> T | None:
        try:
            return step()
        except ProjectError as error:
            self._problems.extend(replace(each, file=project_path(each.file)) for each in error.problems)
            return None

    def _document(self, path: str) -> Document:
        if path not in self._documents:
            self._documents[path] = parse_yaml(path, self._sources.text(path))
        return self._documents[path]

    def _optional(self, path: str, schema: type[Any]) -> Any:
        if path not in self._sources.files:
            return None
        return self._try(lambda: validate(self._document(path), schema))

    def _models(self) -> ModelTiers:
        """The `models` part of agent.yaml, its problems with their own lines. Its shape is told of with the rest."""
        document = self._document("agent.yaml")
        data: Any = document.data
        part = data.get("models") if isinstance(data, dict) else None
        if not isinstance(part, dict):
            return ModelTiers.model_validate(NO_MODEL)
        # From here on paths begin below `models`; a problem of the whole part stands where the part begins.
        lines = {path[1:]: line for path, line in document.lines.items() if path[:1] == ("models",)}
        return validate(Document(document.file, part, lines), ModelTiers)

    def _instructions(self, config: AgentConfig) -> Instructions:
        agent = config.model_dump(include={"name", "display_name", "description", "language"})
        text = self._sources.text("instructions.md")
        return Instructions("instructions.md", text, agent=agent, variables=config.variables)

    def _flows(self, tools: Mapping[str, Tool] | None) -> dict[str, Flow | None]:
        """By name; None for a flow that is there and broken, so that nothing else complains about its absence."""
        flows: dict[str, Flow | None] = {}
        knowledge = self._sources.under("knowledge", ".md")
        for path in self._sources.under("flows", ".yaml"):
            flow, name = None, path.rpartition("/")[2].removesuffix(".yaml")
            if tools is None:
                # Without tools every call would seem to name an unknown one.
                file = self._optional(path, FlowFile)
                name = file.name if file else name
            else:
                text = self._sources.text(path)
                flow = self._try(lambda path=path, text=text: load_flow(path, text, tools, knowledge))
                name = flow.name if flow else name
            if name in flows:
                self._problems.append(Problem(path, 1, f"another flow is called {name!r} too; rename one of them"))
            flows[name] = flow
        return flows

    def _tests(self) -> dict[str, TestFile | None]:
        return {path: self._optional(path, TestFile) for path in self._sources.under("tests", ".yaml")}

    def _approval_rules(self, policies: Policies, tools: Mapping[str, Tool] | None) -> Rules | None:
        if not policies.approvals:
            return Rules()
        return self._try(lambda: compile_rules(policies.approvals, self._document("policies.yaml"), tools))

    def _permission_conditions(self, policies: Policies, tools: Mapping[str, Tool] | None) -> Mapping[str, Condition]:
        """The compiled `when` of each permission that has one."""
        compiled: dict[str, Condition] = {}
        for name, permission in policies.permissions.items():
            if permission.when is None:
                continue
            condition = compile_condition(permission.when, [name], tools)
            if isinstance(condition, list):
                place = ("permissions", name, "when")
                self._problems.extend(self._document("policies.yaml").problem(place, text) for text in condition)
            else:
                compiled[name] = condition
        return compiled

    def _policy_problems(self, policies: Policies, tools: Mapping[str, Tool]) -> Iterator[Problem]:
        for name in policies.permissions:
            if name not in tools:
                path = ("permissions", name)
                yield self._document("policies.yaml").problem(path, _unknown("tool", name, tools))

    def _guardrail_problems(self, policies: Policies) -> Iterator[Problem]:
        for key, name in unknown_categories(policies.guardrails):
            message = f"nothing falls into the category {name!r}; correct its name or give it words"
            yield self._document("policies.yaml").problem(("guardrails", key, name), message)

    def _intent_problems(
        self, intents: Intents, flows: Mapping[str, Flow | None], tools: Mapping[str, Tool] | None
    ) -> Iterator[Problem]:
        document = self._document("intents.yaml")
        for index, intent in enumerate(intents.intents):
            if intent.flow is not None and intent.flow not in flows:
                yield document.problem(("intents", index, "flow"), _unknown("flow", intent.flow, flows))
            if intent.tool is None or tools is None:
                continue
            path = ("intents", index, "tool")
            tool = tools.get(intent.tool)
            if tool is None:
                yield document.problem(path, _unknown("tool", intent.tool, tools))
            elif needed := tool.parameters.get("required"):
                mend = "answer the intent by a flow that collects it, or by the agent"
                yield document.problem(path, f"tool {tool.name!r} needs the argument {needed[0]!r}; {mend}")

    def _test_problems(
        self, tests: Mapping[str, TestFile | None], intents: Intents | None, tools: Mapping[str, Tool] | None
    ) -> Iterator[Problem]:
        names = {intent.name for intent in intents.intents} if intents else None
        if "intents.yaml" not in self._sources.files:
            names = set[str]()
        for path, test in tests.items():
            for index, turn in enumerate(test.turns if test else ()):
                place, expect = ("turns", index, "expect"), turn.expect
                if names is not None and expect.intent is not None and expect.intent not in names:
                    yield self._documents[path].problem((*place, "intent"), _unknown("intent", expect.intent, names))
                if tools is not None and expect.tool is not None and expect.tool not in tools:
                    yield self._documents[path].problem((*place, "tool"), _unknown("tool", expect.tool, tools))


def _in_order(problems: list[Problem]) -> list[Problem]:
    return sorted(set(problems), key=lambda each: (each.file, each.line, each.message))


def _unknown(what: str, name: str, known: Mapping[str, Any] | set[str]) -> str:
    listed = ", ".join(map(repr, sorted(known))) or "none"
    return f"{what} {name!r} does not exist; create it or use one of: {listed}"
