"""An export holds every conversation of its tenant once, whatever happened on the way."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from handrail.core.jobs import Task
from handrail.flows.export import PAGE, export_page
from handrail.serving.conversations import ExportFolder
from tests.flows.world import World

TASK = Task("run_1", "export_conversations", "default")


@pytest.fixture(autouse=True)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    world: World = request.getfixturevalue("any_world" if "any_world" in request.fixturenames else "world")
    world.services.background.exports = ExportFolder(tmp_path / "exports")
    return tmp_path / "exports"


async def export(world: World, state: Any = None) -> Any:
    state = state or {}
    while not state.get("done"):
        state = await export_page(world.services, TASK, state)
    return state["report"]["default"]


def exported(folder: Path) -> list[Any]:
    return [json.loads(line) for line in (folder / "run_1.jsonl").read_text().splitlines()]


class TestAnExport:
    async def test_holds_each_conversation_with_its_messages(self, any_world: World, folder: Path) -> None:
        conversation = await any_world.open()
        any_world.script("Good day.")
        await any_world.say(conversation, "hello\nthere")
        report = await export(any_world)

        (line,) = exported(folder)
        assert (line["id"], line["agent"], line["subject"]) == (conversation.id, "shop", "demo-customer")
        assert [(each["role"], each["content"]) for each in line["messages"]] == [
            ("user", "hello\nthere"), ("assistant", "Good day."),
        ]  # fmt: skip
        assert report["conversations"] == 1
        assert report["file"] == str(folder / "run_1.jsonl")
        assert report["bytes"] == (folder / "run_1.jsonl").stat().st_size

    async def test_is_for_the_service_s_own_user_alone(self, world: World, folder: Path) -> None:
        await export(world)
        modes = [os.stat(path).st_mode & 0o777 for path in (folder, folder / "run_1.jsonl")]
        assert modes == [0o700, 0o600]
        assert exported(folder) == []

    async def test_holds_nothing_of_another_tenant(self, world: World, folder: Path) -> None:
        await world.open()
        await export(world)
        state: Any = {}
        while not state.get("done"):
            state = await export_page(world.services, Task("run_2", TASK.job, "evil"), state)
        assert (folder / "run_2.jsonl").read_bytes() == b""

    async def test_that_was_killed_within_a_page_holds_that_page_once(self, world: World, folder: Path) -> None:
        opened = [(await world.open()).id for _ in range(PAGE + 2)]
        first = await export_page(world.services, TASK, {})
        with (folder / "run_1.jsonl.part").open("ab") as part:
            part.write(b'{"id": "conv_half of a li')
        await export(world, first)
        assert [line["id"] for line in exported(folder)] == opened

    async def test_whose_last_page_runs_again_stays_the_same(self, world: World, folder: Path) -> None:
        opened = [(await world.open()).id for _ in range(PAGE + 2)]
        first = await export_page(world.services, TASK, {})
        await export(world, first)
        await export(world, first)
        assert [line["id"] for line in exported(folder)] == opened

    async def test_whose_part_is_on_another_machine_begins_anew(self, world: World, folder: Path) -> None:
        opened = [(await world.open()).id for _ in range(PAGE + 2)]
        first = await export_page(world.services, TASK, {})
        (folder / "run_1.jsonl.part").unlink()
        assert (await export(world, first))["conversations"] == PAGE + 2
        assert [line["id"] for line in exported(folder)] == opened
