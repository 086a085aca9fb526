import asyncio
import gc
import hashlib
import sqlite3
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from handrail.core.answers import Awaiting
from handrail.core.clock import FrozenClock
from handrail.core.documents import ProjectError
from handrail.core.errors import NotFound, UsageError
from handrail.core.principal import Principal
from handrail.db import Database
from handrail.delivery.releases import Release, ReleaseAltered, Sources
from handrail.flows import releases as flow
from handrail.flows.releases import Releases, Target, create_and_use
from handrail.serving.context import extract
from handrail.serving.models import ModelConnections, ModelRegistry
from handrail.serving.routing import Example, Thresholds, train_here

AGENT = """
name: shop
models:
  large: {provider: scripted, replies: ["hello"]}
limits: {max_steps: 3, max_tool_calls: 5}
"""
INTENTS = """
intents:
  - name: order_status
    title: track an order
    flow: status
    execute: 0.95
    examples: [where is my order, track my parcel, has it been shipped yet, when will my package come]
  - name: hours
    agent: true
    examples: [when are you open, opening hours, are you open on sunday, what time do you close]
"""
FLOW = """
name: status
slots:
  order: {ask: "Which order?", pattern: "[A-Z]\\\\d{4}", from_message: true}
  note: {ask: "A note?", optional: true, type: integer}
steps:
  - collect: order
  - collect: note
  - confirm: Look it up?
  - call: get_order
    with: {order: "{{ slots.order }}"}
    save: found
  - say: "{{ found.status }}"
"""
TOOLS = '''
from handrail import tool

@tool(effect="read")
def get_order(order: str) -> dict[str, str]:
    """Look up an order."""
    return {"status": "shipped"}
'''
PROJECT = {
    "agent.yaml": AGENT,
    "instructions.md": "You are {{ agent.name }}. {{ today }}",
    "intents.yaml": INTENTS,
    "flows/status.yaml": FLOW,
    "tools.py": TOOLS,
    "knowledge/hours.md": "# Hours\n\nWe are open from nine to five.\n",
}


def sources(**changes: str) -> Sources:
    files = {**PROJECT, **{name.replace("__", "/").replace("_yaml", ".yaml"): text for name, text in changes.items()}}
    return Sources({path: text.encode() for path, text in files.items()})


def other(number: int = 1) -> Sources:
    return sources(agent_yaml=f"{AGENT}\ndescription: number {number}\n")


class CountingTrainer:
    """Trains really, but the same examples once in all these tests; `calls` counts how often it was asked."""

    calls = 0
    _trained: ClassVar[dict[str, Any]] = {}

    def __call__(self, examples: Sequence[Example], out_of_scope: Sequence[str], seed: int) -> Any:
        CountingTrainer.calls += 1
        key = repr((examples, out_of_scope, seed))
        if key not in self._trained:
            self._trained[key] = train_here(examples, out_of_scope, seed)
        return self._trained[key]

    @classmethod
    def forget(cls) -> None:
        cls._trained.clear()


@pytest.fixture(autouse=True)
def trainings(monkeypatch: pytest.MonkeyPatch) -> type[CountingTrainer]:
    monkeypatch.setattr(CountingTrainer, "calls", 0)
    return CountingTrainer


def releases_over(db: Database, most_loaded: int = 8) -> Releases:
    registry = ModelRegistry(ModelConnections(), {}, extract=extract)
    return Releases(db, registry, FrozenClock(), train=CountingTrainer(), most_loaded=most_loaded)


@pytest.fixture
def releases(sqlite_db: Database) -> Releases:
    return releases_over(sqlite_db)


async def create(releases: Releases, made_of: Sources, tenant_id: str = "default") -> Release:
    return await releases.create(tenant_id, made_of, author="demo-operator", note="first")


class TestCreate:
    async def test_stores_the_sources_and_a_trained_head(self, releases: Releases):
        told: list[str] = []
        made = await releases.create(
            "default", sources(), author="demo-operator", on_trained=lambda report: told.append(report.sentence())
        )
        assert made.id == sources().release_id
        assert made.agent == "shop"
        assert await releases.sources("default", made.id) == sources()
        assert told[0].startswith("trained on 8 examples of 2 intents")

    async def test_gives_the_same_release_for_the_same_sources(
        self, releases: Releases, trainings: type[CountingTrainer]
    ):
        first = await create(releases, sources())
        assert await releases.create("default", sources(), author="somebody else") == first
        assert trainings.calls == 1

    async def test_gives_one_release_to_two_who_make_it_at_once(self, sqlite_db: Database):
        one, two = releases_over(sqlite_db), releases_over(sqlite_db)
        first, second = await asyncio.gather(create(one, sources()), create(two, sources()))
        assert first == second
        assert len(await one.list("default")) == 1

    async def test_trains_anew_only_when_examples_change(self, releases: Releases, trainings: type[CountingTrainer]):
        await create(releases, sources())
        await create(releases, other())
        await create(releases, sources(intents_yaml=INTENTS.replace("track an order", "find an order")))
        assert trainings.calls == 1
        await create(releases, sources(intents_yaml=INTENTS.replace("opening hours", "hours of opening")))
        assert trainings.calls == 2

    async def test_stores_nothing_of_a_project_with_problems(self, releases: Releases):
        with pytest.raises(ProjectError, match=r"agent\.yaml:1"):
            await create(releases, sources(agent_yaml="nmae: shop"))
        assert await releases.list("default") == []

    async def test_gives_the_same_head_every_time(self, sqlite_db: Database, tmp_path: Path):
        await create(releases_over(sqlite_db), sources())
        rows = read(tmp_path, "SELECT hash FROM artefact")
        CountingTrainer.forget()
        with sqlite3.connect(tmp_path / "handrail.db") as connection:
            connection.execute("DELETE FROM release_artefact")
            connection.execute("DELETE FROM artefact")
        connection.close()
        await releases_over(sqlite_db).load("default", sources().release_id)
        assert read(tmp_path, "SELECT hash FROM artefact") == rows


def read(folder: Path, sql: str) -> list[tuple[str]]:
    connection = sqlite3.connect(folder / "handrail.db")
    rows = connection.execute(sql).fetchall()
    connection.close()
    return rows


class TestLoad:
    async def test_gives_the_parts_that_a_turn_needs(self, releases: Releases):
        made = await create(releases, sources())
        loaded = await releases.load("default", made.id)
        assert (loaded.id, loaded.agent) == (made.id, "shop")
        assert loaded.config.name == "shop"
        assert [each.name for each in loaded.tool_list] == ["get_order"]
        assert [tier.client.model for tier in loaded.chain] == ["scripted"]
        assert (loaded.loop_limits.max_steps, loaded.loop_limits.max_tool_calls) == (3, 5)
        assert loaded.policies.input.max_characters == 4000
        assert loaded.instructions_for(None, FrozenClock()) == "You are shop. 2026-01-01"
        assert loaded.knowledge.search("when are you open")[0].text == "We are open from nine to five."
        assert loaded.head is not None
        assert loaded.head.predict("where is my order").intent == "order_status"
        assert releases.describe_models() == ["shop large: scripted (scripted)"]

    async def test_says_what_answers_an_intent(self, releases: Releases):
        loaded = await releases.load("default", (await create(releases, sources())).id)
        assert loaded.target("order_status") == Target("flow", "status")
        assert loaded.target("hours") == loaded.target(None) == loaded.target("gone") == Target("agent")
        assert (loaded.title("order_status"), loaded.title("gone")) == ("track an order", "gone")
        assert loaded.thresholds("order_status") == Thresholds(0.95, 0.6)
        assert loaded.thresholds("hours") == Thresholds(0.9, 0.6)

    async def test_of_what_was_just_made_checks_nothing_again(
        self, releases: Releases, monkeypatch: pytest.MonkeyPatch
    ):
        checks = count(monkeypatch, "check")
        made = await create(releases, sources())
        await releases.load("default", made.id)
        assert len(checks) == 1

    async def test_does_so_once_for_all_who_ask_together(self, sqlite_db: Database, monkeypatch: pytest.MonkeyPatch):
        made = await create(releases_over(sqlite_db), sources())
        releases, checks = releases_over(sqlite_db), count(monkeypatch, "check")
        first, second = await asyncio.gather(releases.load("default", made.id), releases.load("default", made.id))
        assert first is second is await releases.load("default", made.id)
        assert len(checks) == 1

    async def test_goes_on_for_the_others_when_one_is_cancelled(self, releases: Releases):
        made = await create(releases, sources())
        leaving = asyncio.create_task(releases.load("default", made.id))
        staying = asyncio.create_task(releases.load("default", made.id))
        await asyncio.sleep(0)
        leaving.cancel()
        assert (await staying).id == made.id

    async def test_can_be_tried_again_after_a_failure(self, releases: Releases):
        with pytest.raises(NotFound):
            await releases.load("default", "rel_0000000000000000")
        with pytest.raises(NotFound):
            await releases.load("default", "rel_0000000000000000")

    async def test_does_not_find_the_release_of_another_tenant(self, releases: Releases):
        made = await create(releases, sources())
        await releases.load("default", made.id)
        with pytest.raises(NotFound):
            await releases.load("other", made.id)

    async def test_refuses_altered_files(self, releases: Releases, tmp_path: Path):
        made = await create(releases, sources())
        with sqlite3.connect(tmp_path / "handrail.db") as connection:
            connection.execute("UPDATE release_file SET content = x'00' WHERE path = 'tools.py'")
        connection.close()
        with pytest.raises(ReleaseAltered):
            await releases.load("default", made.id)

    async def test_keeps_releases_side_by_side(self, releases: Releases):
        old = await releases.load("default", (await create(releases, sources())).id)
        changed = {**sources().files, "tools.py": TOOLS.replace("shipped", "lost").encode()}
        new = await releases.load("default", (await create(releases, Sources(changed))).id)
        assert old.tools["get_order"].function("A1") == {"status": "shipped"}
        assert new.tools["get_order"].function("A1") == {"status": "lost"}

    async def test_forgets_the_least_used_and_unloads_its_code(self, sqlite_db: Database):
        releases = releases_over(sqlite_db, most_loaded=1)
        first, second = await create(releases, sources()), await create(releases, other())
        held = await releases.load("default", first.id)
        await releases.load("default", second.id)
        assert await releases.load("default", first.id) is held
        await releases.load("default", second.id)
        del held
        gc.collect()
        assert [name for name in sys.modules if sources().digest[:16] in name] == []

    async def test_trains_a_head_again_that_another_version_wrote(
        self, releases: Releases, tmp_path: Path, trainings: type[CountingTrainer]
    ):
        made = await create(releases, sources())
        broken = b"of another version"
        with sqlite3.connect(tmp_path / "handrail.db") as connection:
            connection.execute("PRAGMA foreign_keys=OFF")
            digest = hashlib.sha256(broken).hexdigest()
            connection.execute("UPDATE artefact SET content = ?, hash = ?, made_from = 'old'", (broken, digest))
            connection.execute("UPDATE release_artefact SET hash = ?", (digest,))
        connection.close()
        loaded = await releases.load("default", made.id)
        assert loaded.head is not None
        assert trainings.calls == 2

    async def test_takes_a_project_without_intents(self, releases: Releases):
        made = await create(releases, Sources({"agent.yaml": b"name: a", "instructions.md": b"Be kind."}))
        loaded = await releases.load("default", made.id)
        assert loaded.head is None
        assert loaded.target("anything") == Target("agent")


class TestAnswersFlow:
    @pytest.fixture
    async def answers(self, releases: Releases) -> Callable[[str, str], bool]:
        loaded = await releases.load("default", (await create(releases, sources())).id)
        return lambda at, text: loaded.answers_flow(
            Awaiting("slot", "order_status", {"flow": "status", "at": at}), text
        )

    @pytest.mark.parametrize(
        ("at", "text", "does"),
        [
            ("0", "A1001", True),
            ("0", "it is A1001, thanks", True),
            ("0", "when are you open", False),
            ("0", "never mind", True),
            ("0", "I want to talk to a person", True),
            ("1", "3", True),
            ("1", "skip", True),
            ("1", "when are you open", False),
            ("2", "yes please", True),
            ("2", "no", True),
            ("2", "when are you open", False),
            ("9", "A1001", False),
        ],
    )
    async def test_knows_an_answer_from_another_subject(
        self, answers: Callable[[str, str], bool], at: str, text: str, does: bool
    ):
        assert answers(at, text) is does


class TestUse:
    async def test_makes_a_release_stable_and_knows_the_way_back(self, releases: Releases):
        first, second = await create(releases, sources()), await create(releases, other())
        assert await releases.stable("default", "shop") is None
        await releases.use("default", first.id)
        state = await releases.use("default", second.id)
        assert (state.stable_release_id, state.previous_release_id) == (second.id, first.id)
        assert await releases.stable("default", "shop") == second.id
        assert [each.name for each in await releases.agents("default")] == ["shop"]

    async def test_refuses_a_release_that_cannot_be_loaded(self, releases: Releases, tmp_path: Path):
        made = await create(releases, sources())
        with sqlite3.connect(tmp_path / "handrail.db") as connection:
            connection.execute("DELETE FROM release_file WHERE path = 'tools.py'")
        connection.close()
        with pytest.raises(ReleaseAltered):
            await releases.use("default", made.id)
        assert await releases.stable("default", "shop") is None

    async def test_of_a_folder_makes_the_release_and_uses_it(self, releases: Releases, tmp_path: Path):
        folder = tmp_path / "project"
        for path, text in PROJECT.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)
        made = await create_and_use(releases, folder, Principal("default", "operator"), note="n")
        assert (made.id, made.author, made.note) == (sources().release_id, "operator", "n")
        assert await releases.stable("default", "shop") == made.id


class TestFind:
    async def test_takes_the_beginning_of_an_id(self, releases: Releases):
        made = await create(releases, sources())
        assert await releases.find("default", made.id[:10]) == made
        assert await releases.find("default", made.id) == made

    @pytest.mark.parametrize("wrong", ["rel_", "rel_zzzzzz", "rel_0000000000000000"])
    async def test_does_not_guess(self, releases: Releases, wrong: str):
        await create(releases, sources())
        with pytest.raises(NotFound):
            await releases.find("default", wrong)

    async def test_refuses_a_beginning_that_several_have(self, releases: Releases, monkeypatch: pytest.MonkeyPatch):
        await create(releases, sources())
        await create(releases, other())
        monkeypatch.setattr(flow, "SHORTEST_PREFIX", 4)
        with pytest.raises(UsageError, match="2 releases begin with"):
            await releases.find("default", "rel_")

    async def test_compares_two_releases(self, releases: Releases):
        first, second = await create(releases, sources()), await create(releases, other())
        changes = await releases.diff("default", first.id, second.id)
        assert [(each.path, each.change) for each in changes] == [("agent.yaml", "changed")]


def count(monkeypatch: pytest.MonkeyPatch, name: str) -> list[int]:
    calls: list[int] = []
    real: Callable[..., Awaitable[object]] = getattr(flow, name)

    def counting(*arguments: object) -> object:
        calls.append(1)
        return real(*arguments)

    monkeypatch.setattr(flow, name, counting)
    return calls
