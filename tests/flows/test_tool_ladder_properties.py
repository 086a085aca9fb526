"""Whatever a tool and what stands in for it do, the ladder keeps its promises."""

import asyncio
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handrail.core.clock import FrozenClock
from handrail.core.deadline import Deadline
from handrail.core.messages import ToolCall, ToolResult
from handrail.db.open import open_database
from handrail.flows.admission import active_turn
from handrail.flows.services import ActiveTurn
from handrail.flows.tool_ladder import climb_down
from handrail.serving.conversations import Turn, TurnStatus
from handrail.serving.resilience import Breakers, LastGood, Retries, RetryPolicy, tool_key
from handrail.serving.tools import ToolError, ToolUnavailable
from tests.flows.desk import desk
from tests.flows.world import ANA, PROJECT, World, closed, world_over

TOOLS = '''
from typing import Any

from handrail import ToolContext, tool
from tests.flows.desk import desk


async def copy(order: str, context: ToolContext) -> Any:
    return await desk.do("copy", context, order=order)


@tool(effect="read", secondary=copy, last_good_seconds=60)
async def read(order: str, context: ToolContext) -> Any:
    """Read."""
    return await desk.do("read", context, order=order)


@tool(idempotent=True)
async def keyed(order: str, context: ToolContext) -> Any:
    """Write once for each key."""
    return await desk.do("keyed", context, order=order)


@tool
async def write(order: str, context: ToolContext) -> Any:
    """Write."""
    return await desk.do("write", context, order=order)
'''
# What one try does: an answer, a "no", nothing with surely no effect, or an end after which nobody knows.
ANSWERS, SAYS_NO = "answers", "says no"
NOT_DONE = {"busy": ToolUnavailable("busy"), "refused": ConnectionRefusedError()}
NOT_KNOWN = {"hangs": TimeoutError(), "reset": ConnectionResetError(), "bug": ValueError("bug")}
TRIES = st.lists(st.sampled_from([ANSWERS, SAYS_NO, *NOT_DONE, *NOT_KNOWN]), min_size=4, max_size=4)
ORDER = ("primary", "retry", "secondary", "cached", "honest")


class Bench:
    """One world for all examples; each begins with nothing known."""

    def __init__(self, runner: asyncio.Runner, world: World, active: ActiveTurn) -> None:
        self.runner = runner
        self.world = world
        self.active = active

    def call(self, name: str, tries: list[str], *, is_open: bool, in_doubt: bool) -> ToolResult:
        services = self.world.services
        services.breakers = Breakers(services.clock)
        services.retries = Retries(random.Random(0), RetryPolicy(attempts=3), sleep=_at_once)
        services.last_good = LastGood(services.clock)
        desk.clear()
        desk.acts[name] = _acts(tries)
        desk.acts["copy"] = _acts(list(reversed(tries)))
        if is_open:
            services.breakers.force_open(tool_key("shop", name), "off in this example")
        self.active.deadline = Deadline.after(60)
        call = ToolCall("call_1", name, '{"order":"A1001"}')
        tool = self.world.release.tools[name]
        return self.runner.run(climb_down(services, self.active, tool, call, in_doubt=in_doubt))


async def _at_once(_: float) -> None:
    await asyncio.sleep(0)


def _acts(tries: list[str]) -> Any:
    left = list(tries)

    def act(order: str) -> dict[str, str]:
        this = left.pop(0)
        if this == ANSWERS:
            return {"order": order}
        raise ToolError("no") if this == SAYS_NO else {**NOT_DONE, **NOT_KNOWN}[this]

    return act


async def _active(world: World) -> ActiveTurn:
    conversation = await world.open()
    turn = Turn("turn_1", "default", conversation.id, 1, TurnStatus.RUNNING, "shop", world.release.id, 1, 0)
    return active_turn(world.services, ANA, conversation, world.release, turn, "x")


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with asyncio.Runner() as runner, tempfile.TemporaryDirectory() as folder:
        clock = FrozenClock()
        db = runner.run(open_database(f"sqlite:///{Path(folder) / 'a.db'}", clock))
        project = {"agent.yaml": PROJECT["agent.yaml"], "instructions.md": "x", "tools.py": TOOLS}
        world = runner.run(world_over(db, clock, project=project))
        yield Bench(runner, world, runner.run(_active(world)))
        runner.run(closed(world))
        runner.run(db.close())


@settings(max_examples=150, deadline=None)
@given(name=st.sampled_from(["read", "keyed", "write"]), tries=TRIES, is_open=st.booleans(), in_doubt=st.booleans())
def test_every_call_ends_in_a_result_that_is_true(
    bench: Bench, name: str, tries: list[str], is_open: bool, in_doubt: bool
) -> None:
    result = bench.call(name, tries, is_open=is_open, in_doubt=in_doubt and name != "read")
    made = tries[: desk.names().count(name)]
    rungs = [step["rung"] for step in result.ladder]

    assert not (is_open and made), "an open breaker lets nothing through"
    assert len(made) <= {"read": 3, "keyed": 3, "write": 1}[name]
    assert rungs == sorted(rungs, key=ORDER.index), "a ladder only goes down"
    assert all("failed" in step for step in result.ladder[:-1])
    assert not result.ladder or "failed" not in result.ladder[-1]
    if name == "read":
        assert result.status != "unknown"
        return
    assert not {"secondary", "cached"} & set(rungs)
    assert "copy" not in desk.names()
    may_have_happened = (in_doubt and name != "read") or bool(set(made) & NOT_KNOWN.keys())
    if made and made[-1] == ANSWERS:
        assert result.status == "completed"
    else:
        assert result.status == ("unknown" if may_have_happened else "failed")


@settings(max_examples=60, deadline=None)
@given(tries=TRIES)
def test_a_read_is_told_from_where_it_comes(bench: Bench, tries: list[str]) -> None:
    result = bench.call("read", tries, is_open=False, in_doubt=False)
    taken = result.ladder[-1]["rung"] if result.ladder else "primary"
    assert ("note" in result.told) == (taken in ("secondary", "cached"))
    assert (result.status == "failed") == (taken == "honest" or SAYS_NO in tries[: desk.names().count("read")])
