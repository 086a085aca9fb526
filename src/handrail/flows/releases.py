"""The story of a release: read the project, check it, train its intent head, store it, use it, load it.

What is loaded is what was stored: the digest is verified each time, and code runs from the snapshot.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from weakref import WeakValueDictionary

import handrail
from handrail.core import json
from handrail.core.answers import Awaiting
from handrail.core.clock import Clock, as_datetime
from handrail.core.errors import NotFound, UsageError
from handrail.core.models import ModelClient
from handrail.core.principal import Principal
from handrail.core.tools import Tool
from handrail.db import Conflict, Database
from handrail.delivery.releases import (
    AgentState,
    Artefact,
    FileChange,
    GitState,
    Loader,
    NewRelease,
    PoliciesFile,
    Release,
    ReleaseStore,
    Sources,
    diff,
    git_state,
    read_sources,
)
from handrail.flows.project import CheckedProject, check
from handrail.serving.agents import LoopLimits
from handrail.serving.agents.schema import AgentConfig
from handrail.serving.context import Knowledge
from handrail.serving.dialogue import Flow, answers
from handrail.serving.models import ModelRegistry, Models
from handrail.serving.routing import Intents, Thresholds, parse_yes_no

if TYPE_CHECKING:
    from handrail.serving.routing import IntentHead

HEAD = "intent_head"
SEED = 0
_log = logging.getLogger("handrail.releases")


@dataclass(frozen=True, slots=True)
class Target:
    """What answers an intent; `name` is the flow's or the tool's."""

    kind: Literal["flow", "tool", "agent"]
    name: str = ""


_AGENT = Target("agent")


class LoadedRelease:
    """One release as the turns use it. Shared by all of them, never changed."""

    def __init__(
        self, release_id: str, project: CheckedProject, head: "IntentHead | None", knowledge: Knowledge, models: Models
    ) -> None:
        self.id = release_id
        self.agent = project.config.name
        self.project = project
        self.head = head
        self.knowledge = knowledge
        self.models = models
        self.model: ModelClient = models.client(project.config.default_model)
        self.tool_list: tuple[Tool, ...] = tuple(project.tools.values())
        limits = project.config.limits
        self.loop_limits = LoopLimits(max_steps=limits.max_steps, max_tool_calls=limits.max_tool_calls)
        routing = project.config.routing
        usual = Thresholds(routing.execute, routing.confirm)
        intents = project.intents.intents if project.intents else []
        self._usual = usual
        self._thresholds = {each.name: usual.overridden(each.execute, each.confirm) for each in intents}
        self._titles = {each.name: each.spoken for each in intents}
        self._targets = {each.name: _target(each.flow, each.tool) for each in intents}

    @property
    def config(self) -> AgentConfig:
        return self.project.config

    @property
    def tools(self) -> Mapping[str, Tool]:
        return self.project.tools

    @property
    def flows(self) -> Mapping[str, Flow]:
        return self.project.flows

    @property
    def intents(self) -> Intents | None:
        return self.project.intents

    @property
    def policies(self) -> PoliciesFile:
        return self.project.policies

    def target(self, intent: str | None) -> Target:
        """What answers this intent; the agent loop when there is none."""
        return self._targets.get(intent or "", _AGENT)

    def title(self, intent: str) -> str:
        """The intent in people's words, for questions."""
        return self._titles.get(intent, intent)

    def thresholds(self, intent: str) -> Thresholds:
        """The intent's own thresholds where it has them, else the agent's."""
        return self._thresholds.get(intent, self._usual)

    def instructions_for(self, intent: str | None, clock: Clock) -> str:
        return self.project.instructions.render(today=as_datetime(clock.micros()).date(), intent=intent)

    def answers_flow(self, awaiting: Awaiting, text: str) -> bool:
        """Whether the text is an answer to what a flow of this release waits for."""
        flow = self.flows.get(str(awaiting.state.get("flow", "")))
        return flow is not None and answers(flow, awaiting, text, parse_yes_no)

    @cached_property
    def offers(self) -> str | None:
        return _offers(self.project)

    def describe_models(self) -> list[str]:
        """A line a tier, for people."""
        return [
            f"{self.agent} {each.tier}: {each.model} ({each.provider})"
            + ("" if each.is_configured else f", off: {each.reason}")
            + (f", falls back to {', '.join(each.chain[1:])}" if len(each.chain) > 1 else "")
            for each in self.models.describe()
        ]


class Releases:
    """The releases of all tenants: made, stored, used, and loaded once a process.

    Args:
        most_loaded: releases kept loaded without being used; those that a turn holds stay loaded anyway.
    """

    def __init__(self, db: Database, models: ModelRegistry, clock: Clock, *, most_loaded: int = 8) -> None:
        self.store = ReleaseStore(db)
        self._db = db
        self._registry = models
        self._clock = clock
        self._loader = Loader()
        self._most_loaded = most_loaded
        self._recent: OrderedDict[tuple[str, str], LoadedRelease] = OrderedDict()
        self._alive: WeakValueDictionary[tuple[str, str], LoadedRelease] = WeakValueDictionary()
        self._loading: dict[tuple[str, str], asyncio.Task[LoadedRelease]] = {}
