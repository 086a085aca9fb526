"""One release as the turns use it: its parts, and which of them answers an intent."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from handrail.core.answers import Awaiting
from handrail.core.clock import Clock, as_datetime
from handrail.core.conditions import Condition
from handrail.core.tools import Tool
from handrail.flows.policies import Policies
from handrail.flows.project import CheckedProject
from handrail.oversight.approvals import Rules
from handrail.protection.boundary import Canary, actions_of, parameters_of
from handrail.protection.guardrails import InputGuardrail, Instructions, OutputGuardrail, hosts_in
from handrail.serving.agents import LoopLimits
from handrail.serving.agents.schema import AgentConfig
from handrail.serving.context import Knowledge
from handrail.serving.dialogue import Flow, leaves_flow
from handrail.serving.dialogue.policy import find_value, skips
from handrail.serving.models import Models, ModelTier
from handrail.serving.routing import Thresholds, parse_yes_no

if TYPE_CHECKING:
    from handrail.serving.routing import IntentHead


@dataclass(frozen=True, slots=True)
class Target:
    """What answers an intent; `name` is the flow's or the tool's."""

    kind: Literal["flow", "tool", "agent"]
    name: str = ""


_AGENT = Target("agent")


class LoadedRelease:
    """Shared by all turns of a release, never changed. Holding it keeps the release's code loaded."""

    def __init__(
        self, project: CheckedProject, head: "IntentHead | None", knowledge: Knowledge, models: Models
    ) -> None:
        config = project.config
        intents = project.intents.intents if project.intents else []
        self._project = project
        self._usual = Thresholds(config.routing.execute, config.routing.confirm)
        self._thresholds = {each.name: self._usual.overridden(each.execute, each.confirm) for each in intents}
        self._titles = {each.name: each.spoken for each in intents}
        self._questions = {each.name: each.confirm_question for each in intents}
        self._targets = {each.name: _target(each.flow, each.tool) for each in intents}
        self.id = project.sources.release_id
        # Many releases share their instructions; figures by these are those of a prompt.
        self.instructions_hash = hashlib.sha256(project.sources.text("instructions.md").encode()).hexdigest()[:16]
        self.agent = config.name
        self.head = head
        self.knowledge = knowledge
        self.models = models
        self.chain: Sequence[ModelTier] = models.chain(config.default_model)
        self.input_guardrail = InputGuardrail(project.policies.guardrails)
        self.output_guardrail = _output_guardrail(project)
        self.tool_list: tuple[Tool, ...] = tuple(project.tools.values())
        self.actions = actions_of([(each.name, each.asked_as) for each in self.tool_list if each.effect == "write"])
        self.canary = Canary.new()
        self.tool_parameters = {each.name: parameters_of(each.parameters) for each in self.tool_list}
        self.loop_limits = LoopLimits(max_steps=config.limits.max_steps, max_tool_calls=config.limits.max_tool_calls)

    @property
    def intents(self) -> Collection[str]:
        """By name."""
        return self._titles.keys()

    @property
    def config(self) -> AgentConfig:
        return self._project.config

    @property
    def tools(self) -> Mapping[str, Tool]:
        return self._project.tools

    @property
    def flows(self) -> Mapping[str, Flow]:
        return self._project.flows

    @property
    def policies(self) -> Policies:
        return self._project.policies

    @property
    def permission_conditions(self) -> Mapping[str, Condition]:
        """By tool, what must hold of a call besides the role."""
        return self._project.permission_conditions

    @property
    def approval_rules(self) -> Rules:
        return self._project.approval_rules

    def target(self, intent: str | None) -> Target:
        """What answers this intent; the agent loop when there is none."""
        return self._targets.get(intent or "", _AGENT)

    def title(self, intent: str) -> str:
        """The intent in people's words, for questions."""
        return self._titles.get(intent, intent)

    def own_question(self, intent: str | None) -> str | None:
        """The intent's own words for asking whether it is meant, if it has any."""
        return self._questions.get(intent or "")

    def thresholds(self, intent: str) -> Thresholds:
        """The intent's own thresholds where it has them, else the agent's."""
        return self._thresholds.get(intent, self._usual)

    def instructions_for(self, intent: str | None, clock: Clock) -> str:
        return self._project.instructions.render(today=as_datetime(clock.micros()).date(), intent=intent)

    def answers_flow(self, awaiting: Awaiting, text: str) -> bool:
        """Whether the text is an answer to what a flow of this release asked, or the wish to leave it."""
        flow = self.flows.get(str(awaiting.state.get("flow", "")))
        node = flow.nodes.get(str(awaiting.state.get("at", ""))) if flow else None
        if flow is None or node is None:
            return False
        if leaves_flow(text) is not None:
            return True
        slot = flow.slots.get(node.step.collect or "")
        if slot is None or slot.type == "boolean":
            return parse_yes_no(text) is not None
        return find_value(slot, text) is not None or (slot.optional and skips(text))

    def describe_models(self) -> list[str]:
        """A line a tier, for people."""
        return [
            f"{self.agent} {each.tier}: {each.model} ({each.provider})"
            + ("" if each.is_configured else f", off: {each.reason}")
            + (f", answered by {each.chain[0]!r}" if each.chain and each.chain[0] != each.tier else "")
            for each in self.models.describe()
        ]


def _output_guardrail(project: CheckedProject) -> OutputGuardrail:
    """With the domains that the project itself names, and its instructions, which are not for users' eyes."""
    sources, policy = project.sources, project.policies.guardrails.output
    for_users = [sources.text(path) for path in (*sources.under("knowledge", ".md"), *sources.under("flows", ".yaml"))]
    instructions = sources.text("instructions.md")
    hosts = hosts_in([instructions, *for_users]) | frozenset(policy.domains)
    return OutputGuardrail(policy, hosts, Instructions.of(instructions, for_users))


def offers(project: CheckedProject) -> str | None:
    """What the agent can do without a model, to finish the sentence "I can help with ..."."""
    intents = project.intents.intents if project.intents else []
    titles = [f"'{each.spoken}'" for each in intents if not each.agent]
    return ", ".join(titles) or None


def _target(flow: str | None, tool: str | None) -> Target:
    if flow is not None:
        return Target("flow", flow)
    return Target("tool", tool) if tool is not None else _AGENT
