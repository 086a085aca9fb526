"""What a turn leaves behind for whoever looks into it: its spans, whom they belong to, and what they say to others."""

import asyncio
from typing import Any

import pytest

from handrail.core.clock import FrozenClock
from handrail.core.models import ModelUnavailable
from handrail.core.principal import Principal, Role
from handrail.db import Database
from handrail.flows.approval import decide
from handrail.flows.cancel import cancel_turn
from handrail.flows.erasure import erase
from handrail.flows.leases import sweep
from handrail.insight.traces import StoredTrace, TraceWriter, root_span_id, span_id, waterfall
from handrail.serving.models import Reply, calls
from handrail.telemetry.trace import begin_trace, current_trace_id
from tests.flows.desk import Desk
from tests.flows.world import ANA, PROJECT, World, closed, until, world_over

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER = "00f067aa0ba902b7"
OLGA = Principal("default", "olga", frozenset({Role.APPROVER}))
ADMIN = Principal("default", "root", frozenset({Role.ADMIN}))
GUARDED = {
    **PROJECT,
    "policies.yaml": "approvals:\n- {name: mails, tools: [send_mail], risk: high, expires_after: 2h}\n",
}


async def traces_of(world: World, turn_id: str) -> list[StoredTrace]:
    await world.services.traces.flush()
    return list(await world.services.traces.store.of_turn("default", turn_id))


async def trace_of(world: World, turn_id: str) -> StoredTrace:
    (found,) = await traces_of(world, turn_id)
    return found


def titles(trace: StoredTrace) -> list[str]:
    return [bar.title for bar in waterfall(trace)]


async def said(world: World, text: str = "tell me") -> tuple[dict[str, Any], StoredTrace]:
    """A turn that a caller sent with a trace of its own."""

    async def request() -> dict[str, Any]:
        begin_trace(f"00-{TRACE}-{CALLER}-01", "vendor=1")
        return dict(await world.say(await world.open(), text))

    result = await asyncio.create_task(request())
    return result, await trace_of(world, result["id"])


class TestATurn:
    async def test_leaves_its_guardrail_route_and_model_call(self, world: World) -> None:
        world.script("Hello.")
        _, trace = await said(world)

        assert titles(trace) == [
            "invoke_agent shop",
            "handrail.guardrail input",
            "handrail.route execute",
            "chat scripted",
        ]
        chat = trace.spans[-1]
        assert chat.attributes["provider"] == "scripted"
        assert (chat.attributes["input_tokens"], chat.attributes["output_tokens"]) == (10, 5)
        assert (chat.attributes["finish_reason"], chat.attributes["rung"]) == ("stop", "primary")
        assert 0 <= chat.attributes["first_chunk_micros"] <= (chat.duration_micros or 0)

    async def test_says_whose_it_is_and_how_it_ended(self, world: World) -> None:
        result, trace = await said(world)

        assert (trace.trace_id, trace.parent_id, trace.turn_id) == (TRACE, CALLER, result["id"])
        assert (trace.agent, trace.release_id, trace.intent) == ("shop", world.release.id, "chat")
        assert (trace.status, trace.error_code, trace.latency_class) == ("completed", None, "complex")
        assert trace.instructions_hash == world.release.instructions_hash
        assert 0 < trace.overhead_micros <= trace.duration_micros
        assert (await world.stored(result["id"])).trace_id == TRACE

    async def test_holds_no_content(self, world: World, desk: Desk) -> None:
        desk.acts["get_order"] = lambda **_: {"note": "from-the-tool"}
        world.script(calls(("get_order", {"order": "from-the-model"}), text="aside-of-the-model"), "the-answer")
        _, trace = await said(world, "the-question")

        stored = repr(trace)
        for text in ("the-question", "the-answer", "from-the-tool", "from-the-model", "aside-of-the-model"):
            assert text not in stored

    async def test_holds_redacted_texts_where_the_deployment_wants_them(self, world: World, desk: Desk) -> None:
        world.services.traces = TraceWriter(world.db, redact=lambda text: text.replace("ana@example.com", "[email]"))
        world.script(calls(("get_order", {"order": "A1"})), "I wrote to ana@example.com.")
        _, trace = await said(world, "I am ana@example.com")

        assert trace.content[0] == {"input": "I am [email]", "output": "I wrote to [email]."}
        tool = next(each for each in trace.spans if each.kind == "execute_tool")
        assert trace.content[tool.number]["arguments"] == '{"order":"A1"}'

    async def test_shows_tool_calls_and_names_itself_to_each(self, world: World, desk: Desk) -> None:
        world.script(calls(("get_order", {"order": "A1"}), ("refund", {"order": "A1"})), "Done.")
        result, trace = await said(world)

        tools = {each.name: each for each in trace.spans if each.kind == "execute_tool"}
        assert {name: each.attributes["status"] for name, each in tools.items()} == {
            "get_order": "completed",
            "refund": "completed",
        }
        root = root_span_id(result["id"], 1)
        sent = {context.tool_call_id: context for context in desk.contexts}
        for tool in tools.values():
            context = sent[tool.attributes["call_id"]]
            assert context.traceparent == f"00-{TRACE}-{span_id(root, tool.number)}-01"
            assert context.tracestate == "vendor=1"

    async def test_names_its_model_calls_to_the_provider(self, world: World) -> None:
        model = world.script("Hello.")
        result, trace = await said(world)

        number = next(each.number for each in trace.spans if each.kind == "chat")
        assert model.requests[0].traceparent == f"00-{TRACE}-{span_id(root_span_id(result['id'], 1), number)}-01"

    async def test_shows_refused_tool_calls_without_the_name_of_what_does_not_exist(self, world: World) -> None:
        world.script(calls(("close_account", {}), ("../../etc", {})), "No.")
        _, trace = await said(world)

        assert {(each.name, each.error) for each in trace.spans if each.kind == "execute_tool"} == {
            ("close_account", "tool_refused"),
            ("unknown", "tool_refused"),
        }

    async def test_shows_retries_and_the_model_it_fell_back_to(self, world: World) -> None:
        world.script_chain([ModelUnavailable("busy")], ["From the second."])
        _, trace = await said(world)

        chats = [(each.name, each.error, each.attributes["rung"]) for each in trace.spans if each.kind == "chat"]
        assert chats == [
            ("model-1", "model_unavailable", "primary"),
            ("model-1", "model_unavailable", "retry"),
            ("model-1", "model_unavailable", "retry"),
            ("model-2", None, "secondary"),
        ]
        assert [bar.title for bar in waterfall(trace) if bar.kind in ("retry", "fallback")] == [
            "handrail.retry model-1",
            "handrail.retry model-1",
            "handrail.fallback model-2",
        ]

    async def test_shows_below_a_tool_call_what_stood_in_for_it(self, world: World, desk: Desk) -> None:
        desk.acts["get_order"] = lambda **_: (_ for _ in ()).throw(OSError("down"))
        world.script(calls(("get_order", {"order": "A1"})), "Sorry.")
        _, trace = await said(world)

        tool = next(each for each in trace.spans if each.kind == "execute_tool")
        assert (tool.error, tool.attributes["status"]) == ("tool_failed", "failed")
        below = [(each.kind, each.attributes["rung"]) for each in trace.spans if each.parent == tool.number]
        assert below == [("fallback", "honest")]

    async def test_of_a_stopped_one_is_kept_with_what_it_was_doing(self, world: World) -> None:
        world.script(Reply("never", delay_seconds=30))
        conversation = await world.open()
        stream = await world.send(conversation, "tell me")
        await until(lambda: bool(world.model.requests))
        await cancel_turn(world.services, ANA, stream.turn_id)
        await stream.wait()
        await world.settle(stream.turn_id)

        trace = await trace_of(world, stream.turn_id)
        assert (trace.status, trace.error_code) == ("cancelled", "cancelled")
        assert [each.error for each in trace.spans if each.kind == "chat"] == ["cancelled"]

    async def test_waits_for_nobody_when_the_line_is_full(self, world: World) -> None:
        world.services.traces = TraceWriter(world.db, most_waiting=0)
        world.script("Hello.")

        assert (await world.say(await world.open(), "tell me"))["status"] == "completed"

    async def test_that_waited_in_line_keeps_the_trace_of_its_own_request(self, world: World) -> None:
        seen: list[str | None] = []
        world.script(lambda _: seen.append(current_trace_id()) or Reply("Hello.", delay_seconds=0.02), repeats=True)
        conversation = await world.open()

        async def request(trace: str) -> str:
            begin_trace(f"00-{trace}-{CALLER}-01")
            return (await world.send(conversation, "tell me")).turn_id

        turns = [await asyncio.create_task(request(each * 32)) for each in "12"]
        await until(lambda: len(seen) == 2)
        await asyncio.gather(*world.services.running.values())

        assert seen == ["1" * 32, "2" * 32]
        assert [(await trace_of(world, each)).trace_id for each in turns] == ["1" * 32, "2" * 32]


class TestAParkedTurn:
    @pytest.fixture
    async def guarded(self, db: Database, clock: FrozenClock):
        world = await world_over(db, clock, project=GUARDED)
        yield world
        await closed(world)

    async def test_goes_on_in_a_trace_that_names_the_one_it_began_in(self, guarded: World, desk: Desk) -> None:
        guarded.script(calls(("send_mail", {"text": "hi"})), "It is sent.")
        result, parked = await said(guarded)
        (approval,) = await guarded.services.approvals.of_turn("default", result["id"])
        await decide(guarded.services, OLGA, approval.id, "approve", fingerprint=approval.fingerprint)
        await until(lambda: bool(desk.seen))
        await asyncio.gather(*guarded.services.running.values())

        first, second = await traces_of(guarded, result["id"])
        assert (first, first.status, second.status) == (parked, "requires_action", "completed")
        assert second.trace_id != first.trace_id
        assert second.link is not None
        assert (second.link.trace_id, second.link.span_id) == (TRACE, span_id(root_span_id(result["id"], 1), 0))
        assert [each.attributes["status"] for each in first.spans if each.kind == "approval"] == ["pending"]
        assert [each.attributes["status"] for each in second.spans if each.kind == "approval"] == ["approved"]

    async def test_taken_over_is_linked_too(self, db: Database, clock: FrozenClock, desk: Desk) -> None:
        dead, heir = [await world_over(db, clock) for _ in range(2)]
        dead.script(Reply("never", delay_seconds=30))
        heir.script("Here I am.")
        stream = await dead.send(await dead.open(), "tell me")
        await until(lambda: bool(dead.model.requests))
        clock.advance(100)
        await sweep(heir.services)
        followed = heir.services.streams.find(stream.turn_id)
        assert followed is not None
        await followed.wait()
        await heir.settle(stream.turn_id)

        trace = await trace_of(heir, stream.turn_id)
        assert (trace.epoch, trace.link and trace.link.trace_id) == (2, (await heir.stored(stream.turn_id)).trace_id)
        for world in (heir, dead):
            await closed(world)


class TestErasure:
    async def test_takes_the_traces_with_the_conversation(self, world: World) -> None:
        world.alone()
        result, _ = await said(world)
        await erase(world.services, ADMIN, ANA.subject)

        assert await traces_of(world, result["id"]) == []

    async def test_also_takes_those_that_were_still_in_line(self, world: World) -> None:
        world.alone()
        result = await world.say(await world.open(), "tell me")
        assert world.services.traces.waiting == 1
        await erase(world.services, ADMIN, ANA.subject)

        assert await traces_of(world, result["id"]) == []
        assert world.services.traces.waiting == 0
