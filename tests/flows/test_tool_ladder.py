"""How a tool call gets its answer when the tool fails: which rung is taken, what is on record, who is told what."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from handrail.core.clock import FrozenClock
from handrail.core.principal import Principal
from handrail.db import Database
from handrail.serving.models import Reply, calls
from handrail.serving.resilience import BreakerState, tool_key
from handrail.serving.tools import ToolError, ToolUnavailable
from tests.flows.desk import Desk
from tests.flows.world import ANA, PROJECT, World, closed, events_of, until, world_over

LADDERS = '''
from typing import Any

from handrail import ToolContext, tool
from tests.flows.desk import desk


async def from_paper(item: str, context: ToolContext) -> Any:
    return await desk.do("from_paper", context, item=item)


@tool(effect="read", timeout_seconds=0.1, retries=1, last_good_seconds=60)
async def get_order(order: str, context: ToolContext) -> Any:
    """Look up an order."""
    return await desk.do("get_order", context, order=order)


@tool(effect="read", retries=0, secondary=from_paper)
async def get_stock(item: str, context: ToolContext) -> Any:
    """Look up how many are left."""
    return await desk.do("get_stock", context, item=item)


@tool(effect="read", retries=0, secondary="get_ledger")
async def get_rate(account: str, context: ToolContext) -> Any:
    """Look up the rate."""
    return await desk.do("get_rate", context, account=account)


@tool(effect="read", retries=0)
async def get_vault(account: str, context: ToolContext) -> Any:
    """Look up what staff may see."""
    return await desk.do("get_vault", context, account=account)


@tool(effect="read", retries=0, secondary="get_vault")
async def get_balance(account: str, context: ToolContext) -> Any:
    """Look up what is left."""
    return await desk.do("get_balance", context, account=account)


@tool(effect="read", retries=0)
async def get_ledger(account: str, context: ToolContext) -> Any:
    """Look up what is left, slowly."""
    return await desk.do("get_ledger", context, account=account)


@tool(effect="read", bulkhead=1, retries=0, timeout_seconds=0.1)
def dig(where: str) -> str:
    """Dig."""
    return desk.acts["dig"](where)


@tool(effect="read")
async def opening_hours(context: ToolContext) -> Any:
    """When the shop is open."""
    return await desk.do("opening_hours", context)


@tool(effect="write", timeout_seconds=0.1)
async def refund(order: str, context: ToolContext) -> Any:
    """Pay an order back."""
    return await desk.do("refund", context, order=order)


@tool(effect="write", idempotent=True, timeout_seconds=0.1)
async def renew(loan: str, context: ToolContext) -> Any:
    """Renew a loan."""
    return await desk.do("renew", context, loan=loan)
'''
STATUS = """
name: status
slots:
  order: {ask: "Which order?", pattern: "[A-Z]\\\\d{4}", from_message: true}
steps:
- collect: order
- {call: get_order, with: {order: "{{ slots.order }}"}, save: found}
- say: "Order {{ slots.order }} is {{ found.status }}."
"""
OWN_WORDS = STATUS.replace("save: found}", 'save: found, stale: "From {{ age }} ago."}')


@pytest.fixture
async def world(sqlite_db: Database, clock: FrozenClock, desk: Desk) -> AsyncIterator[World]:
    project = {**PROJECT, "tools.py": LADDERS, "flows/status.yaml": STATUS}
    project["policies.yaml"] = "permissions: {get_vault: {roles: [operator]}}\n"
    made = await world_over(sqlite_db, clock, project=project)
    yield made
    await closed(made)


def failing(error: BaseException) -> Any:
    def act(**_: Any) -> None:
        raise error

    return act


def in_turn(*outcomes: Any) -> Any:
    """An act that raises or returns these, one a call."""
    left = list(outcomes)

    def act(**_: Any) -> Any:
        outcome = left.pop(0)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    return act


async def hang(**_: Any) -> None:
    await asyncio.sleep(60)


async def call_once(world: World, name: str, who: Principal = ANA, **arguments: Any) -> Any:
    """One tool call that a model asks for: the turn's result, the stored call, and what the model was told."""
    world.script(calls((name, arguments)), "That is all I know.")
    result = await world.say(await world.open(who), "please", who)
    (stored,) = await world.services.conversations.turn_calls("default", result["id"])
    told = [message.content for message in world.model.requests[-1].messages if message.role == "tool"]
    return result, stored, json.loads(told[-1])


def rungs(stored: Any) -> list[tuple[str, str, str | None]]:
    return [(step["rung"], step["source"], step.get("failed")) for step in stored.ladder]


def counted(world: World, rung: str) -> bool:
    return (
        f'handrail_rungs_total{{agent="shop",kind="tool",rung="{rung}"}} 1.0'
        in world.services.metrics.render().decode()
    )


class TestPrimary:
    async def test_leaves_no_record_and_is_counted(self, world: World, desk: Desk):
        desk.acts["get_order"] = lambda order: {"status": "shipped"}
        _, stored, told = await call_once(world, "get_order", order="A1001")
        assert (stored.ladder, told) == ((), {"status": "shipped"})
        assert counted(world, "primary")

    async def test_s_no_is_an_answer_and_nobody_else_is_asked(self, world: World, desk: Desk):
        desk.acts["get_stock"] = failing(ToolError("we never had that"))
        result, stored, told = await call_once(world, "get_stock", item="sock")
        assert (stored.status, stored.ladder, desk.names()) == ("failed", (), ["get_stock"])
        assert told["error"]["message"] == "we never had that"
        assert result["status"] == "completed"
        assert "escalation_id" not in result


class TestRetry:
    async def test_of_a_read_that_may_pass_gives_the_answer(self, world: World, desk: Desk):
        desk.acts["get_order"] = in_turn(ConnectionResetError(), {"status": "shipped"})
        _, stored, told = await call_once(world, "get_order", order="A1001")
        assert rungs(stored) == [("primary", "get_order", "tool_failed"), ("retry", "get_order", None)]
        assert (stored.status, told) == ("completed", {"status": "shipped"})
        assert counted(world, "retry")

    async def test_waits_as_long_as_the_tool_says(self, world: World, desk: Desk):
        at: list[float] = []

        def act(order: str) -> str:
            at.append(asyncio.get_running_loop().time())
            if len(at) == 1:
                raise ToolUnavailable("closed for a moment", retry_after_seconds=0.3)
            return "open"

        desk.acts["get_order"] = act
        await call_once(world, "get_order", order="A1001")
        assert at[1] - at[0] >= 0.3

    async def test_is_not_made_after_a_bug_of_the_tool(self, world: World, desk: Desk):
        desk.acts["get_order"] = failing(ValueError("bug"))
        _, stored, _ = await call_once(world, "get_order", order="A1001")
        assert desk.names() == ["get_order"]
        assert rungs(stored) == [("primary", "get_order", "tool_failed"), ("honest", "get_order", None)]

    async def test_is_made_for_an_idempotent_write_under_the_same_key(self, world: World, desk: Desk):
        desk.acts["renew"] = in_turn(ToolUnavailable("busy"), {"ok": True})
        _, stored, _ = await call_once(world, "renew", loan="L1")
        assert len({context.idempotency_key for context in desk.contexts}) == 1
        assert (stored.status, len(desk.seen)) == ("completed", 2)

    @pytest.mark.parametrize("fault", [hang, failing(ToolUnavailable("busy")), failing(ConnectionResetError())])
    async def test_is_never_made_for_another_write(self, world: World, desk: Desk, fault: Any):
        desk.acts["refund"] = fault
        _, stored, _ = await call_once(world, "refund", order="A1001")
        assert desk.names() == ["refund"]
        assert [step["rung"] for step in stored.ladder] == ["primary", "honest"]

    async def test_that_is_refused_leaves_a_write_unknown_that_may_have_happened(self, world: World, desk: Desk):
        desk.acts["renew"] = in_turn(ConnectionResetError(), ToolError("not now"))
        result, stored, told = await call_once(world, "renew", loan="L1")
        assert (stored.status, told["error"]["code"]) == ("unknown", "unknown")
        assert result["escalation_id"] is not None


class TestSecondary:
    async def test_answers_and_the_model_is_told(self, world: World, desk: Desk):
        desk.acts["get_stock"] = failing(ToolUnavailable("down"))
        desk.acts["from_paper"] = lambda item: {"left": 3}
        _, stored, told = await call_once(world, "get_stock", item="sock")
        assert rungs(stored) == [
            ("primary", "get_stock", "tool_unavailable"), ("secondary", "get_stock.from_paper", None),
        ]  # fmt: skip
        assert told["result"] == {"left": 3}
        assert "instead" in told["note"]
        assert json.loads(stored.result) == {"left": 3}
        assert counted(world, "secondary")

    async def test_may_be_another_tool(self, world: World, desk: Desk):
        desk.acts["get_rate"] = failing(ToolUnavailable("down"))
        _, stored, _ = await call_once(world, "get_rate", account="1")
        assert rungs(stored)[1:] == [("secondary", "get_ledger", None)]

    async def test_that_is_a_tool_is_under_its_own_permission(self, world: World, desk: Desk):
        desk.acts["get_balance"] = failing(ToolUnavailable("down"))
        _, stored, _ = await call_once(world, "get_balance", account="1")
        assert desk.names() == ["get_balance"]
        assert rungs(stored)[1:] == [("secondary", "get_vault", "permission_denied"), ("honest", "get_balance", None)]

    async def test_s_no_is_no_answer(self, world: World, desk: Desk):
        desk.acts["get_stock"] = failing(ToolUnavailable("down"))
        desk.acts["from_paper"] = failing(ToolError("not on this page"))
        _, stored, _ = await call_once(world, "get_stock", item="sock")
        assert rungs(stored)[1:] == [("secondary", "get_stock.from_paper", "tool_error"), ("honest", "get_stock", None)]


class TestLastGood:
    async def test_answers_with_its_age_said_to_the_model_and_in_events(
        self, world: World, desk: Desk, clock: FrozenClock
    ):
        desk.acts["get_order"] = lambda order: {"status": "shipped"}
        await call_once(world, "get_order", order="A1001")
        clock.advance(42)
        desk.acts["get_order"] = failing(ToolUnavailable("down"))
        world.script(calls(("get_order", {"order": "A1001"})), "It was shipped.", "As I said.")
        conversation = await world.open()
        seen = await events_of(await world.send(conversation, "where"))
        ended = next(event.data for event in seen if event.name == "tool.completed")
        assert (ended["status"], ended["age_seconds"]) == ("completed", 42.0)
        assert [step["rung"] for step in ended["ladder"]] == ["primary", "retry", "cached"]
        told = [m.content for m in world.model.requests[-1].messages if m.role == "tool"][-1]
        assert json.loads(told)["result"] == {"status": "shipped"}
        assert "a minute ago" in json.loads(told)["note"]
        await world.say(conversation, "sure?")
        assert told in [m.content for m in world.model.requests[-1].messages]

    async def test_is_said_with_its_age_by_a_flow(self, world: World, desk: Desk, clock: FrozenClock):
        world.head.knows("where is A1001", "order_status")
        desk.acts["get_order"] = lambda order: {"status": "packed"}
        conversation = await world.open()
        await world.say(conversation, "where is A1001")
        clock.advance(42)
        desk.acts["get_order"] = failing(ToolUnavailable("down"))
        result = await world.say(conversation, "where is A1001")
        assert result["message"]["content"] == (
            "I can't reach the system for this right now, so this is as of a minute ago and may have changed.\n\n"
            "Order A1001 is packed."
        )

    async def test_is_never_another_users_nor_of_other_arguments(self, world: World, desk: Desk):
        desk.acts["get_order"] = lambda order: {"status": "shipped"}
        await call_once(world, "get_order", order="A1001")
        desk.acts["get_order"] = failing(ToolUnavailable("down"))
        _, stored, _ = await call_once(world, "get_order", Principal("default", "bob"), order="A1001")
        assert stored.status == "failed"
        _, stored, _ = await call_once(world, "get_order", order="A1002")
        assert stored.status == "failed"

    async def test_that_is_too_old_is_not_given(self, world: World, desk: Desk, clock: FrozenClock):
        desk.acts["get_order"] = lambda order: {"status": "shipped"}
        await call_once(world, "get_order", order="A1001")
        clock.advance(61)
        desk.acts["get_order"] = failing(ToolUnavailable("down"))
        _, stored, _ = await call_once(world, "get_order", order="A1001")
        assert stored.status == "failed"

    async def test_is_never_half_a_value(self, world: World, desk: Desk):
        desk.acts["get_order"] = lambda order: {"text": "x" * 100_000}
        _, stored, told = await call_once(world, "get_order", order="A1001")
        assert stored.status == "completed"
        assert told["truncated"] is True
        assert len(world.services.last_good) == 0


class TestHonest:
    async def test_word_reaches_the_model_and_people_take_over(self, world: World, desk: Desk):
        desk.acts["get_order"] = failing(ToolUnavailable("the order system is down"))
        result, stored, told = await call_once(world, "get_order", order="A1001")
        assert (stored.status, told["error"]["code"]) == ("failed", "tool_unavailable")
        assert "plainly" in told["error"]["advice"]
        assert result["escalation_id"] is not None
        assert result["message"]["content"].startswith("That is all I know.")
        assert counted(world, "honest")

    async def test_is_forgotten_when_a_later_call_answers(self, world: World, desk: Desk):
        desk.acts["get_stock"] = in_turn(ToolUnavailable("down"), {"left": 2})
        desk.acts["from_paper"] = failing(ToolUnavailable("down"))
        again = calls(("get_stock", {"item": "sock"}))
        world.script(again, again, "Two are left.")
        result = await world.say(await world.open(), "please")
        assert "escalation_id" not in result
        assert result["message"]["content"] == "Two are left."

    async def test_does_not_sink_the_siblings(self, world: World, desk: Desk):
        desk.acts["get_order"] = failing(ToolUnavailable("down"))
        desk.acts["get_ledger"] = lambda account: {"left": 5}
        world.script(calls(("get_order", {"order": "A1"}), ("get_ledger", {"account": "1"})), Reply("Half of it."))
        result = await world.say(await world.open(), "both")
        assert sorted(await world.calls(result["id"])) == [("get_ledger", "completed"), ("get_order", "failed")]


class TestBreaker:
    async def test_opens_and_spares_the_tool(self, world: World, desk: Desk):
        desk.acts["get_ledger"] = failing(ToolUnavailable("down"))
        for _ in range(10):
            await call_once(world, "get_ledger", account="1")
        _, stored, told = await call_once(world, "get_ledger", account="1")
        assert len(desk.seen) == 10
        assert rungs(stored)[0] == ("primary", "get_ledger", "breaker_open")
        assert told["error"]["code"] == "breaker_open"

    async def test_that_refuses_a_write_leaves_it_failed_after_its_intent(self, world: World, desk: Desk):
        world.services.breakers.force_open(tool_key("shop", "refund"), "switched off in a test")
        _, stored, told = await call_once(world, "refund", order="A1001")
        assert (stored.status, desk.seen) == ("failed", [])
        assert "was not called" in told["error"]["message"]
        assert ["insert tool_call"] in [[w for w in each if "tool_call" in w] for each in world.db.commits]

    async def test_hears_of_answers_and_not_of_arguments_that_do_not_fit(self, world: World, desk: Desk):
        desk.acts["get_ledger"] = failing(ToolError("no"))
        for _ in range(3):
            await call_once(world, "get_ledger", account="1")
        await call_once(world, "get_ledger", wrong="1")
        (status,) = [each for each in world.services.breakers.states() if each.key == "tool:shop/get_ledger"]
        assert (status.state, status.calls, status.failed) == (BreakerState.CLOSED, 3, 0)


class TestBulkhead:
    async def test_place_of_a_sync_tool_is_held_until_its_thread_ends(self, world: World, desk: Desk):
        free = threading.Event()
        desk.acts["dig"] = lambda where: str(free.wait(10))
        await call_once(world, "dig", where="here")
        assert world.services.bulkhead.running("tool:shop/dig") == 1
        _, stored, told = await call_once(world, "dig", where="there")
        assert rungs(stored)[0] == ("primary", "dig", "overloaded")
        assert told["error"]["code"] == "overloaded"
        free.set()
        await until(lambda: world.services.bulkhead.running("tool:shop/dig") == 0)

    async def test_place_is_held_by_a_thread_of_a_turn_that_was_stopped(self, world: World, desk: Desk):
        free, begun = threading.Event(), threading.Event()

        def dig(where: str) -> str:
            begun.set()
            return str(free.wait(10))

        desk.acts["dig"] = dig
        world.script(calls(("dig", {"where": "here"})), "Done.")
        stream = await world.send(await world.open(), "dig")
        await until(begun.is_set)
        task = world.services.running[stream.turn_id]
        task.cancel()
        await asyncio.wait([task])
        assert world.services.bulkhead.running("tool:shop/dig") == 1
        free.set()
        await until(lambda: world.services.bulkhead.running("tool:shop/dig") == 0)


class TestOwnWords:
    async def test_of_a_flow_say_the_age(self, sqlite_db: Database, clock: FrozenClock, desk: Desk):
        project = {**PROJECT, "tools.py": LADDERS, "flows/status.yaml": OWN_WORDS, "policies.yaml": "{}"}
        world = await world_over(sqlite_db, clock, project=project)
        world.head.knows("where is A1001", "order_status")
        desk.acts["get_order"] = in_turn({"status": "packed"}, *[ToolUnavailable("down")] * 2)
        conversation = await world.open()
        await world.say(conversation, "where is A1001")
        result = await world.say(conversation, "where is A1001")
        assert result["message"]["content"] == "From a minute ago.\n\nOrder A1001 is packed."
        await closed(world)
