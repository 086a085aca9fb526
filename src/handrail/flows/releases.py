"""The story of a release: read the project, check it, train its intent head, store it, load it, use it.

What is loaded is what was stored: the digest is verified each time, and code runs from the snapshot. All of this runs
the project's code, so callers let operators in only.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

import handrail
from handrail.core import json
from handrail.core.clock import Clock
from handrail.core.documents import parse_yaml, validate
from handrail.core.errors import UsageError
from handrail.core.principal import Principal
from handrail.db import Batch, Conflict, Database
from handrail.delivery.releases import (
    NO_GIT,
    AgentState,
    Artefact,
    FileChange,
    GitState,
    Loader,
    NewRelease,
    Release,
    ReleaseStore,
    Sources,
    diff,
    git_state,
    read_sources,
)
from handrail.flows.loaded_release import LoadedRelease, Target, offers
from handrail.flows.project import CheckedProject, check
from handrail.protection.audit import AuditEntry, AuditTrail
from handrail.protection.guardrails import Detector, InputGuardrail, judge
from handrail.serving.agents.schema import AgentConfig
from handrail.serving.agents.success import Objective
from handrail.serving.context import Knowledge
from handrail.serving.models import ModelConfig, ModelRegistry
from handrail.serving.routing import Intents, train_here

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from handrail.serving.routing import Example, IntentHead, TrainingReport

__all__ = ["LoadedRelease", "OnTrained", "Releases", "Target", "create_and_use"]

Train = Callable[["Sequence[Example]", Sequence[str], int], "tuple[bytes, TrainingReport]"]
OnTrained = Callable[["TrainingReport"], None]
HEAD = "intent_head"
SEED = 0
# A release never changes, so what it promises is read once; more agents than this are read anew now and then.
MOST_OBJECTIVES = 10_000
SHORTEST_PREFIX = len("rel_") + 4
_log = logging.getLogger("handrail.releases")


async def create_and_use(
    releases: "Releases",
    folder: Path,
    principal: Principal,
    *,
    note: str | None = None,
    on_trained: OnTrained | None = None,
) -> Release:
    """Make a release of what is on disk and let it answer new conversations; what `serve` does when it starts."""
    sources, git = await asyncio.to_thread(lambda: (read_sources(folder), git_state(folder)))
    new = await releases.create(
        principal.tenant_id, sources, author=principal.subject, note=note, git=git, on_trained=on_trained, by=principal
    )
    if await releases.stable(principal.tenant_id, new.agent) != new.id:
        await releases.use(principal.tenant_id, new.id, by=principal)
    else:
        await releases.load(principal.tenant_id, new.id)
    return new


class Releases:
    """The releases of all tenants.

    Args:
        train: makes a head from examples; a server hands in `train_apart`.
        audit: where making and using a release is recorded.
        detector: looks through the knowledge of a release when it is loaded.
        most_loaded: how many are kept loaded unused; those that a turn holds stay loaded anyway.

    Attributes:
        on_loaded: awaited before the first turn of a release that was loaded.
    """

    def __init__(
        self,
        db: Database,
        models: ModelRegistry,
        clock: Clock,
        *,
        train: Train = train_here,
        most_loaded: int = 8,
        audit: AuditTrail | None = None,
        detector: Detector | None = None,
    ) -> None:
        self._audit = audit
        self._detector = detector or Detector()
        self._train = train
        self._db = db
        self._store = ReleaseStore(db)
        self._models = models
        self._clock = clock
        self._loader = Loader()
        self._most_loaded = most_loaded
        self._recent: OrderedDict[tuple[str, str], LoadedRelease] = OrderedDict()
        self._alive: WeakValueDictionary[tuple[str, str], LoadedRelease] = WeakValueDictionary()
        self._objectives: dict[tuple[str, str], Objective] = {}
        self.on_loaded: Callable[[LoadedRelease], Awaitable[None]] | None = None
        self._loading: dict[tuple[str, str], asyncio.Task[LoadedRelease]] = {}
        # What was made last, until it is loaded, which is mostly the next thing to happen: checking reads every file.
        self._made: dict[tuple[str, str], CheckedProject] = {}

    async def create(
        self,
        tenant_id: str,
        sources: Sources,
        *,
        author: str,
        note: str | None = None,
        git: GitState = NO_GIT,
        on_trained: OnTrained | None = None,
        by: Principal | None = None,
    ) -> Release:
        """The stored release of these sources, made now if it is new. Its author, note and commit stay the first ones.

        Raises:
            ProjectError: with every problem of the project.
        """
        existing = await self._store.find_same(tenant_id, sources)
        if existing is not None:
            return existing
        project = await asyncio.to_thread(check, sources, self._loader, tenant_id)
        head = await self._trained(tenant_id, project, on_trained)
        new = NewRelease(project.config.name, sources, author, note, git)
        try:
            async with self._db.batch() as batch:
                self._store.add(batch, tenant_id, new)
                self._record(batch, tenant_id, "release.made", sources.release_id, new.agent, by)
                if head is not None:
                    self._store.attach(batch, tenant_id, sources.release_id, head)
        except Conflict:
            if await self._store.find_same(tenant_id, sources) is None:
                raise
            _log.info("release %s was made by another process at the same moment", sources.release_id)
        self._made = {(tenant_id, sources.release_id): project}
        return await self._store.get(tenant_id, sources.release_id)

    async def use(self, tenant_id: str, release_id: str, by: Principal | None = None) -> AgentState:
        """Make a release stable, for conversations that begin from now on. It is loaded first: a release that can't be
        loaded never takes over."""
        release = await self._store.get(tenant_id, release_id)
        await self.load(tenant_id, release_id)
        async with self._db.batch() as batch:
            self._store.use(batch, tenant_id, release.agent, release_id)
            self._record(batch, tenant_id, "release.used", release_id, release.agent, by)
        state = await self._store.agent(tenant_id, release.agent)
        assert state is not None, "the batch has just written it"
        return state

    async def load(self, tenant_id: str, release_id: str) -> LoadedRelease:
        """The release, from memory when it is there.

        Raises:
            NotFound: this tenant has no such release.
            ReleaseAltered: what is stored is not what was released.
        """
        key = (tenant_id, release_id)
        loaded = self._recent.get(key) or self._alive.get(key)
        if loaded is None:
            task = self._loading.get(key)
            if task is None:
                task = self._loading[key] = asyncio.create_task(self._load(tenant_id, release_id))
                task.add_done_callback(lambda _: self._loading.pop(key, None))
            # Others wait for the same load: a turn that is cancelled meanwhile must not end it for them.
            loaded = await asyncio.shield(task)
        self._remember(key, loaded)
        return loaded

    async def objective(self, tenant_id: str, release_id: str) -> Objective:
        """What the agent of a release promises; none of its code is run for it.

        Raises:
            NotFound: this tenant has no such release.
            ReleaseAltered: what is stored is not what was released.
        """
        key = (tenant_id, release_id)
        loaded = self._alive.get(key)
        if loaded is not None:
            return loaded.config.success.objective
        if key not in self._objectives:
            text = (await self.sources(tenant_id, release_id)).text("agent.yaml")
            self._objectives[key] = await asyncio.to_thread(_objective_in, text)
            while len(self._objectives) > MOST_OBJECTIVES:
                del self._objectives[next(iter(self._objectives))]
        return self._objectives[key]

    async def list(self, tenant_id: str, agent: str | None = None, limit: int = 50) -> Sequence[Release]:
        """The newest first."""
        return await self._store.list(tenant_id, agent, limit)

    async def find(self, tenant_id: str, release_id: str) -> Release:
        """A release by its id, or by the beginning of one.

        Raises:
            NotFound: there is none.
            UsageError: several begin like this.
        """
        exact = await self._store.find(tenant_id, release_id)
        if exact is not None or len(release_id) < SHORTEST_PREFIX:
            return exact or await self._store.get(tenant_id, release_id)
        matches = [each for each in await self._store.list(tenant_id, limit=10_000) if each.id.startswith(release_id)]
        if len(matches) > 1:
            raise UsageError(f"{len(matches)} releases begin with {release_id!r}; write more of the id")
        return matches[0] if matches else await self._store.get(tenant_id, release_id)

    async def sources(self, tenant_id: str, release_id: str) -> Sources:
        """The files of a release, verified."""
        return await self._store.sources(tenant_id, await self._store.get(tenant_id, release_id))

    def address_of(self, model: ModelConfig) -> str:
        """Where a model is called, empty when nowhere; variables of this process may say so."""
        return self._models.url(model)

    async def diff(self, tenant_id: str, old_id: str, new_id: str) -> Sequence[FileChange]:
        """What the new release changes against the old one."""
        return diff(await self.sources(tenant_id, old_id), await self.sources(tenant_id, new_id))

    async def stable(self, tenant_id: str, agent: str) -> str | None:
        """The id of the release that answers new conversations with this agent."""
        state = await self._store.agent(tenant_id, agent)
        return state.stable_release_id if state else None

    async def protection(self, tenant_id: str, pinned: LoadedRelease) -> Sequence[LoadedRelease]:
        """The releases whose policies hold for a conversation now: its own and the stable one.

        Behaviour stays what it was when the conversation began; what protects people is tightened for all at once.
        """
        stable = await self.stable(tenant_id, pinned.agent)
        if stable is None or stable == pinned.id:
            return (pinned,)
        return (pinned, await self.load(tenant_id, stable))

    async def agents(self, tenant_id: str) -> Sequence[AgentState]:
        """The agents that answer, by name."""
        return [each for each in await self._store.agents(tenant_id) if each.stable_release_id]

    def names_of(self, tenant_id: str) -> set[str]:
        """The tools as `agent/tool`, and the models as `provider/model` and as their breakers have it, `host/model`, of
        the tenant's releases that are loaded."""
        loaded = self._loaded_of(tenant_id)
        named = {f"{tier.provider}/{tier.model}" for each in loaded for tier in each.models.describe()}
        called = {f"{tier.client.origin}/{tier.client.model}" for each in loaded for tier in each.models.tiers()}
        return named.union(called, *({f"{each.agent}/{tool}" for tool in each.tools} for each in loaded))

    def intents_of(self, tenant_id: str) -> set[str]:
        """The intents of the tenant's releases that are loaded."""
        return {intent for each in self._loaded_of(tenant_id) for intent in each.intents}

    def tools_of(self, tenant_id: str | None) -> set[str]:
        """The tools of a tenant's releases that are loaded, or of all tenants'; their secondaries too."""
        tools = [tool for each in self._loaded_of(tenant_id) for tool in each.tools.values()]
        return {each.name for each in tools} | {each.secondary.name for each in tools if each.secondary}

    def models_of(self, tenant_id: str | None) -> set[str]:
        """The models of a tenant's releases that are loaded, or of all tenants', by their names and as
        `provider/model`."""
        tiers = [tier for each in self._loaded_of(tenant_id) for tier in each.models.describe()]
        return {each.model for each in tiers} | {f"{each.provider}/{each.model}" for each in tiers}

    def _loaded_of(self, tenant_id: str | None) -> Sequence[LoadedRelease]:
        return [each for (tenant, _), each in tuple(self._alive.items()) if tenant_id in (None, tenant)]

    def describe_models(self) -> Sequence[str]:
        """A line a model tier of every loaded release; the same line of two releases once."""
        return list(dict.fromkeys(line for each in self._recent.values() for line in each.describe_models()))

    def _record(
        self, batch: Batch, tenant_id: str, action: str, release_id: str, agent: str, by: Principal | None
    ) -> None:
        if self._audit is not None:
            details = (("agent", agent),)
            entry = AuditEntry(tenant_id, action, "done", f"release:{release_id}", by, details=details)
            self._audit.record(batch, entry)

    def _remember(self, key: tuple[str, str], loaded: LoadedRelease) -> None:
        self._recent[key] = loaded
        self._recent.move_to_end(key)
        while len(self._recent) > self._most_loaded:
            self._recent.popitem(last=False)

    async def _load(self, tenant_id: str, release_id: str) -> LoadedRelease:
        release = await self._store.get(tenant_id, release_id)
        sources = await self._store.sources(tenant_id, release)
        project = self._made.pop((tenant_id, release_id), None)
        if project is None:
            project = await asyncio.to_thread(check, sources, self._loader, tenant_id)
        head = await self._head(tenant_id, release_id, project)
        knowledge = await asyncio.to_thread(_knowledge, sources)
        await asyncio.to_thread(self._mark, knowledge, release_id, project)
        if head is not None:
            # The first prediction loads the word vectors; no user should wait for that.
            await asyncio.to_thread(head.predict, "hello")
        loaded = LoadedRelease(project, head, knowledge, self._models.build(project.models, offers=offers(project)))
        if self.on_loaded is not None:
            await self.on_loaded(loaded)
        self._alive[tenant_id, release_id] = loaded
        return loaded

    def _mark(self, knowledge: Knowledge, release_id: str, project: CheckedProject) -> None:
        """What is in the files may come from elsewhere; people hear of it, and the model is told with the passage."""
        guardrails = [InputGuardrail(project.policies.guardrails)]
        for each in knowledge.marked(lambda text: bool(judge(self._detector, guardrails, text, "tool").tripped)):
            _log.warning(
                "%s in release %s reads like instructions to the model: %r", each.source, release_id, each.title
            )

    async def _head(self, tenant_id: str, release_id: str, project: CheckedProject) -> "IntentHead | None":
        """The head that was trained when the release was made."""
        if project.intents is None:
            return None
        from handrail.serving.routing import HeadUnreadable, IntentHead

        artefact = await self._store.attached(tenant_id, release_id, HEAD)
        try:
            if artefact is not None:
                return await asyncio.to_thread(IntentHead.load, artefact.content)
        except HeadUnreadable as error:
            # Another version of Handrail wrote it. The examples are in the release, so it can be made again.
            _log.warning("the intent head of release %s is trained again: %s", release_id, error.message)
        artefact = await self._trained(tenant_id, project, None)
        assert artefact is not None, "there are intents"
        async with self._db.batch() as batch:
            self._store.attach(batch, tenant_id, release_id, artefact)
        return await asyncio.to_thread(IntentHead.load, artefact.content)

    async def _trained(self, tenant_id: str, project: CheckedProject, on_trained: OnTrained | None) -> Artefact | None:
        """The head for these examples, trained unless some release had the same ones."""
        if project.intents is None:
            return None
        made_from = _head_key(project.intents)
        known = await self._store.made_from(tenant_id, HEAD, made_from)
        if known is not None:
            return known
        head, report = await asyncio.to_thread(
            self._train, _examples(project.intents), project.intents.out_of_scope, SEED
        )
        if on_trained is not None:
            on_trained(report)
        return Artefact(HEAD, made_from, head)


def _head_key(intents: Intents) -> str:
    """What a head is made from: examples, seed and the trainer. Titles, targets and thresholds don't change it."""
    from handrail.serving.routing.embedding import NAME
    from handrail.serving.routing.head import FORMAT, VERSION

    examples = [[each.name, each.examples] for each in intents.intents]
    trainer = [FORMAT, VERSION, NAME, handrail.__version__, SEED]
    return json.digest({"examples": examples, "out_of_scope": intents.out_of_scope, "trainer": trainer})


def _examples(intents: Intents) -> "list[Example]":
    from handrail.serving.routing import Example

    return [Example(text, each.name) for each in intents.intents for text in each.examples]


def _knowledge(sources: Sources) -> Knowledge:
    files = {path: sources.text(path) for path in sources.under("knowledge", ".md")}
    return Knowledge.build(files, _embed if files else None)


def _embed(texts: Sequence[str]) -> "NDArray[np.float32]":
    import numpy as np

    from handrail.serving.routing.embedding import shared_embedding

    embedding = shared_embedding()
    return np.stack([embedding.vector(text) for text in texts])


def _objective_in(text: str) -> Objective:
    return validate(parse_yaml("agent.yaml", text), AgentConfig).success.objective
