"""One tool call: permission, the intent row before the effect, the result row, and what can go wrong."""

import asyncio
import json
from typing import Any

import pytest

from handrail.core.principal import Principal, Role
from handrail.db import StoreUnavailable
from handrail.flows.cancel import cancel_turn
from handrail.serving.models import Reply, calls
from handrail.serving.tools import ToolError
from tests.flows.desk import Desk
from tests.flows.world import ANA, World, events_of, until


def result_of(world: World, place: int = -1) -> Any:
    """What the model was told a tool said, by its place among the results of the last request."""
    told = [message.content for message in world.model.requests[-1].messages if message.role == "tool"]
    return json.loads(told[place])


class TestRound:
    async def test_of_reads_runs_them_side_by_side(self, world: World, desk: Desk):
        together = asyncio.Barrier(3)

        async def meet(item: str) -> dict[str, str]:
            async with asyncio.timeout(2), together:
                return {"item": item}

        desk.acts["get_stock"] = meet
        world.script(calls(*(("get_stock", {"item": name}) for name in "abc")), "All there.")
        result = await world.say(await world.open(), "stock?")
        assert result["status"] == "completed"
        assert [result_of(world, place)["item"] for place in range(3)] == ["a", "b", "c"]

    async def test_of_writes_runs_them_one_after_another_in_order(self, world: World, desk: Desk):
        desk.acts["send_mail"] = lambda text: asyncio.sleep(0.01, {"sent": text})
        world.script(calls(*(("send_mail", {"text": name}) for name in "abc")), "Sent.")
        await world.say(await world.open(), "send them")
        assert desk.most_at_work == 1
        assert [arguments["text"] for _, arguments in desk.seen] == ["a", "b", "c"]

    async def test_of_both_gives_every_result_to_the_call_it_answers(self, any_world: World, desk: Desk):
        desk.acts["get_stock"] = lambda item: {"left": item}
        desk.acts["send_mail"] = lambda text: {"sent": text}
        any_world.script(
            calls(("send_mail", {"text": "x"}), ("get_stock", {"item": "y"}), ("send_mail", {"text": "z"})), "Done."
        )
        result = await any_world.say(await any_world.open(), "do it")
        told = [m for m in any_world.model.requests[-1].messages if m.role == "tool"]
        assert [(m.tool_call_id, json.loads(m.content)) for m in told] == [
            ("call_0", {"sent": "x"}), ("call_1", {"left": "y"}), ("call_2", {"sent": "z"}),
        ]  # fmt: skip
        assert sorted(await any_world.calls(result["id"])) == [
            ("get_stock", "completed"), ("send_mail", "completed"), ("send_mail", "completed"),
        ]  # fmt: skip

    async def test_is_read_again_from_the_transcript_in_the_next_turn(self, any_world: World, desk: Desk):
        conversation = await any_world.open()
        desk.acts["get_order"] = lambda order: {"status": "shipped"}
        any_world.script(calls(("get_order", {"order": "A1001"}), text="Let me look."), "Shipped.", "As I said.")
        await any_world.say(conversation, "where is it")
        await any_world.say(conversation, "sure?")
        assert [(m.role, m.content) for m in any_world.model.requests[-1].messages] == [
            ("user", "where is it"), ("assistant", ""), ("tool", '{"status":"shipped"}'),
            ("assistant", "Let me look.\n\nShipped."), ("user", "sure?"),
        ]  # fmt: skip

    async def test_of_two_reads_costs_one_commit_more(self, world: World, desk: Desk):
        conversation = await world.open()
        world.db.commits.clear()
        world.script(calls(("get_stock", {"item": "a"}), ("get_order", {"order": "A1"})), "Fine.")
        await world.say(conversation, "look")
        assert len(world.db.commits) == 3

    async def test_tells_followers_what_is_called_and_how_it_went(self, world: World, desk: Desk):
        world.script(calls(("get_order", {"order": "A1001"})), "ok")
        seen = await events_of(await world.send(await world.open(), "where"))
        started = next(event.data for event in seen if event.name == "tool.started")
        ended = next(event.data for event in seen if event.name == "tool.completed")
        assert (started["name"], started["arguments"]) == ("get_order", {"order": "A1001"})
        assert (ended["id"], ended["status"]) == (started["id"], "completed")


class TestIntentRow:
    @pytest.mark.parametrize("by", ["the model", "a flow"])
    async def test_is_stored_before_a_write_takes_effect(self, any_world: World, desk: Desk, by: str):
        conversation = await any_world.open()
        inside: list[list[tuple[str, str]]] = []

        async def look(order: str) -> dict[str, bool]:
            inside.append(await any_world.calls(desk.contexts[-1].turn_id))
            return {"ok": True}

        desk.acts["refund"] = look
        if by == "a flow":
            any_world.head.knows("money back for A1001", "refund")
            await any_world.say(conversation, "money back for A1001")
            result = await any_world.say(conversation, "yes")
        else:
            any_world.script(calls(("refund", {"order": "A1001"})), "Done.")
            result = await any_world.say(conversation, "refund it")
        assert inside == [[("refund", "intent")]]
        assert await any_world.calls(result["id"]) == [("refund", "completed")]

    async def test_that_can_t_be_stored_lets_nothing_happen(self, world: World, desk: Desk):
        def full(writes: list[str]) -> None:
            if "insert tool_call" in writes:
                raise StoreUnavailable("the disk is full")

        world.db.before_commit = full
        world.script(calls(("refund", {"order": "A1001"})), "Done.")
        result = await world.say(await world.open(), "refund it")
        assert desk.seen == []
        assert (result["status"], result["error"]["code"]) == ("failed", "store_unavailable")

    async def test_without_a_result_stays_when_the_result_can_t_be_stored(self, world: World, desk: Desk):
        world.alone()

        def full(writes: list[str]) -> None:
            if "update tool_call" in writes:
                raise StoreUnavailable("the disk is full")

        world.db.before_commit = full
        conversation = await world.open()
        world.script(calls(("refund", {"order": "A1001"})), "Done.", "I don't know whether it happened.")
        result = await world.say(conversation, "refund it")
        assert await world.calls(result["id"]) == [("refund", "intent")]
        world.db.before_commit = None
        await world.say(conversation, "and?")
        assert result_of(world)["error"]["code"] == "unknown"

    async def test_of_a_turn_that_another_process_took_over_is_refused(self, any_world: World, desk: Desk, clock: Any):
        conversation = await any_world.open()

        async def overtaken(item: str) -> dict[str, bool]:
            (running,) = any_world.services.running
            await any_world.end_elsewhere(running)
            return {"ok": True}

        desk.acts["get_stock"] = overtaken
        any_world.script(calls(("get_stock", {"item": "a"}), ("refund", {"order": "A1001"})), "Done.")
        stream = await any_world.send(conversation, "go")
        result = await asyncio.wait_for(stream.wait(), 5)
        assert desk.names() == ["get_stock"]
        assert result["error"]["code"] == "elsewhere"

    async def test_is_unknown_and_a_person_s_when_the_turn_is_cancelled_during_the_effect(
        self, any_world: World, desk: Desk
    ):
        desk.acts["send_mail"] = lambda text: asyncio.sleep(30)
        any_world.script(calls(("send_mail", {"text": "hi"})))
        stream = await any_world.send(await any_world.open(), "send it")
        await until(lambda: desk.seen != [])
        await cancel_turn(any_world.services, ANA, stream.turn_id)
        assert await any_world.calls(stream.turn_id) == [("send_mail", "unknown")]
        (case,) = await any_world.services.escalations.list("default")
        assert "send_mail" in case.reason


class TestRefusal:
    async def test_of_a_tool_the_user_may_not_have_called_is_a_result_the_model_reads(self, world: World, desk: Desk):
        world.script(calls(("close_account", {})), "I may not do that.")
        result = await world.say(await world.open(), "close my account")
        assert desk.seen == []
        assert result_of(world)["error"]["code"] == "permission_denied"
        assert await world.calls(result["id"]) == [("close_account", "failed")]

    async def test_does_not_meet_who_has_the_role(self, world: World, desk: Desk):
        otto = Principal("default", "otto", frozenset({Role.OPERATOR}))
        world.script(calls(("close_account", {})), "Closed.")
        await world.say(await world.open(otto), "close it", otto)
        assert desk.names() == ["close_account"]
        assert desk.contexts[0].principal == otto

    async def test_of_an_unknown_tool_names_those_there_are(self, world: World):
        world.script(calls(("delete_everything", {})), "There is no such thing.")
        result = await world.say(await world.open(), "go")
        assert result_of(world)["error"]["code"] == "no_such_tool"
        assert "get_order" in result_of(world)["error"]["message"]
        assert await world.calls(result["id"]) == [("unknown", "failed")]
        assert 'tool="unknown"' in world.services.metrics.render().decode()

    @pytest.mark.parametrize(
        "arguments", ['{"order": [5]}', "{}", '{"order": "A1", "amount": 9}', "[]", "not json", ""]
    )
    async def test_of_arguments_that_do_not_fit_never_reaches_the_tool(self, world: World, desk: Desk, arguments: str):
        world.script(calls(("refund", arguments)), "That did not work.")
        result = await world.say(await world.open(), "refund it")
        assert desk.seen == []
        assert await world.calls(result["id"]) == [("refund", "failed")]
        assert "error" in result_of(world)


class TestFailure:
    async def test_that_a_tool_means_for_the_agent_is_told_to_it(self, world: World, desk: Desk):
        def refuse(order: str) -> None:
            raise ToolError("A1001 is older than 30 days")

        desk.acts["refund"] = refuse
        world.script(calls(("refund", {"order": "A1001"})), "It is too old.")
        await world.say(await world.open(), "refund it")
        assert result_of(world)["error"] == {"code": "tool_error", "message": "A1001 is older than 30 days"}

    async def test_of_any_other_kind_keeps_its_text_to_itself(self, world: World, desk: Desk):
        def crash(order: str) -> None:
            raise RuntimeError("password=hunter2")

        desk.acts["get_order"] = crash
        world.script(calls(("get_order", {"order": "A1001"})), "I could not look.")
        result = await world.say(await world.open(), "where")
        assert result["status"] == "completed"
        assert await world.calls(result["id"]) == [("get_order", "failed")]
        assert "hunter2" not in json.dumps(result_of(world))

    async def test_of_one_read_leaves_the_others(self, world: World, desk: Desk):
        def crash(order: str) -> None:
            raise RuntimeError

        desk.acts["get_order"] = crash
        world.script(calls(("get_order", {"order": "A1"}), ("get_stock", {"item": "a"})), "ok")
        result = await world.say(await world.open(), "look")
        assert await world.calls(result["id"]) == [("get_order", "failed"), ("get_stock", "completed")]

    async def test_of_a_read_to_answer_in_time_is_a_failure(self, world: World, desk: Desk):
        desk.acts["get_order"] = lambda order: asyncio.sleep(30)
        world.script(calls(("get_order", {"order": "A1001"})), "It did not answer.")
        result = await world.say(await world.open(), "where")
        assert await world.calls(result["id"]) == [("get_order", "failed")]
        assert result_of(world)["error"]["code"] == "timeout"

    async def test_of_a_write_to_answer_in_time_is_unknown_and_not_tried_again(self, world: World, desk: Desk):
        desk.acts["refund"] = lambda order: asyncio.sleep(30)
        world.script(calls(("refund", {"order": "A1001"})), "I can't tell whether it went through.")
        result = await world.say(await world.open(), "refund it")
        assert await world.calls(result["id"]) == [("refund", "unknown")]
        assert "do not call it again" in result_of(world)["error"]["message"]
        assert desk.names() == ["refund"]

    async def test_is_counted_by_tool_and_status(self, world: World, desk: Desk):
        desk.acts["get_order"] = lambda order: asyncio.sleep(30)
        world.script(calls(("get_order", {"order": "A1001"})), "ok")
        await world.say(await world.open(), "where")
        page = world.services.metrics.render().decode()
        assert 'tool_calls_total{agent="shop",status="failed",tool="get_order"} 1.0' in page


async def test_a_tool_gets_the_user_s_principal_and_a_key_for_its_own_system(world: World, desk: Desk):
    conversation = await world.open()
    world.script(calls(("refund", {"order": "A1"}), ("refund", {"order": "A2"})), "ok")
    result = await world.say(conversation, "refund both")
    first, second = desk.contexts
    assert (first.principal, first.conversation_id, first.turn_id) == (ANA, conversation.id, result["id"])
    assert first.release_id == world.release.id
    assert first.idempotency_key != second.idempotency_key


@pytest.mark.parametrize("text", ["zero \0 inside", "\0"])
async def test_what_a_database_can_t_hold_is_left_out_of_what_a_model_says(any_world: World, desk: Desk, text: str):
    any_world.script(
        Reply(text=text, calls=[("get\0_order", '{"order": "A\0"}'), ("get_order", {"order": "A\0"})]),
        f"done{text}",
    )
    result = await any_world.say(await any_world.open(), "hello")
    assert result["status"] == "completed"
    assert "\0" not in result["message"]["content"]
    assert await any_world.answer(result["id"]) == result["message"]["content"]
