"""The turn: what happens in which order, what is stored, and every way it can end."""

import asyncio
import json
from dataclasses import replace

import pytest

from handrail.core.clock import FrozenClock
from handrail.core.deadline import Deadline
from handrail.core.errors import HandrailError, NotFound
from handrail.core.messages import Message
from handrail.core.models import ModelRefused, ModelUnavailable
from handrail.core.principal import Principal, Role
from handrail.core.usage import Usage
from handrail.db import StoreUnavailable
from handrail.flows.admission import follow_turn
from handrail.flows.cancel import cancel_turn
from handrail.flows.leases import sweep
from handrail.flows.services import ShuttingDown
from handrail.protection.auth import PermissionDenied
from handrail.protection.guardrails import InvalidMessage
from handrail.protection.rate_limits import RateLimited
from handrail.serving.conversations import TurnStatus
from handrail.serving.models import Reply, calls
from tests.flows.desk import Desk
from tests.flows.world import ANA, World, events_of, text_of, until

STORES_TURN = ["update conversation", "insert turn", "insert message"]


class TestOrder:
    async def test_of_the_events_of_a_plain_turn(self, world: World):
        conversation = await world.open()
        world.script("Hello there.")
        seen = await events_of(await world.send(conversation, "hello"))
        assert [event.name for event in seen] == [
            "turn.started", "route.decided", "message.started", "message.delta", "message.completed", "turn.completed",
        ]  # fmt: skip
        assert text_of(seen) == "Hello there."
        assert [event.id for event in seen] == [f"1.{number}" for number in range(1, 7)]

    async def test_of_the_commits_is_the_turn_before_the_answer_and_nothing_more(self, any_world: World):
        conversation = await any_world.open()
        any_world.db.commits.clear()
        await any_world.say(conversation, "hello")
        begun, ended = any_world.db.commits
        assert begun == STORES_TURN
        assert ended == [
            "update turn",
            "update conversation",
            "insert message",
            "insert model_usage",
            "insert fact_change",
        ]

    async def test_nothing_is_said_before_the_message_is_stored(self, world: World):
        conversation = await world.open()
        asked_too_early: list[bool] = []
        world.db.before_commit = lambda writes: asked_too_early.append(bool(world.model.requests))
        await world.say(conversation, "hello")
        assert asked_too_early[0] is False

    async def test_of_the_transcript_is_question_and_answer(self, any_world: World):
        conversation = await any_world.open()
        any_world.script("Hello there.")
        result = await any_world.say(conversation, "  hello\u200b ")
        stored = await any_world.turn_messages(result["id"])
        assert [(each.role, each.content, each.provenance) for each in stored] == [
            ("user", "hello", "user"),
            ("assistant", "Hello there.", "agent"),
        ]
        assert result["message"] == {"id": stored[1].id, "content": "Hello there."}


async def test_a_turn_is_stored_with_its_route_usage_and_release(any_world: World):
    conversation = await any_world.open()
    any_world.script(Reply(text="Hi", usage=Usage(31, 7)))
    result = await any_world.say(conversation, "hello")
    stored = await any_world.stored(result["id"])
    assert (stored.status, stored.intent, stored.action) == (TurnStatus.COMPLETED, "chat", "execute")
    assert (stored.usage, stored.release_id) == (Usage(31, 7), any_world.release.id)
    assert stored.route == result["route"]
    assert result["usage"] == {"input_tokens": 31, "output_tokens": 7, "cost_micros": None}


async def test_the_model_reads_the_release_s_instructions_and_the_dialogue_so_far(world: World):
    conversation = await world.open()
    world.script("first", "second")
    await world.say(conversation, "one")
    await world.say(conversation, "two")
    request = world.model.requests[-1]
    assert request.instructions.startswith("You are the shop's assistant.\n\n(Internal reference ")
    assert [(each.role, each.content) for each in request.messages] == [
        ("user", "one"), ("assistant", "first"), ("user", "two"),
    ]  # fmt: skip
    assert {tool.name for tool in request.tools} == set(world.release.tools)


async def test_every_model_call_of_a_turn_is_on_the_books(any_world: World, clock: FrozenClock, desk: Desk):
    conversation = await any_world.open()
    any_world.script(calls(("get_order", {"order": "A1001"})), Reply(text="It is here.", usage=Usage(20, 3)))
    await any_world.say(conversation, "where is it")
    (day,) = await any_world.services.usage.per_day("default", since=0, until=clock.micros() + 1)
    assert (day.agent, day.calls, day.usage.input_tokens, day.usage.output_tokens) == ("shop", 2, 30, 8)


async def test_a_turn_is_counted_once_by_agent_and_intent(world: World):
    conversation = await world.open()
    await world.say(conversation, "hello")
    page = world.services.metrics.render().decode()
    assert 'agent_requests_total{agent="shop",intent="chat"} 1.0' in page
    assert "demo-customer" not in page


async def test_overhead_leaves_out_the_waits_for_models_and_tools(world: World, desk: Desk):
    conversation = await world.open()
    desk.acts["get_order"] = lambda order: asyncio.sleep(0.15, {"status": "sent"})
    world.script(calls(("get_order", {"order": "A1001"})), Reply(text="Here.", delay_seconds=0.15))
    began = asyncio.get_running_loop().time()
    result = await world.say(conversation, "where is it")
    took = asyncio.get_running_loop().time() - began
    assert took > 0.3
    assert 0 < result["overhead_ms"] < 1000 * (took - 0.29)


class TestAdmission:
    async def test_refuses_who_may_not_see_the_conversation(self, world: World):
        conversation = await world.open()
        for stranger in (Principal("default", "bob"), Principal("evil", ANA.subject)):
            with pytest.raises(NotFound):
                await world.send(conversation, "hello", stranger)
        assert world.model.requests == []

    @pytest.mark.parametrize("role", [Role.VIEWER, Role.REVIEWER, Role.APPROVER, Role.OPERATOR, Role.ADMIN])
    async def test_lets_staff_read_a_customer_s_conversation_but_not_speak_in_it(self, world: World, role: Role):
        conversation = await world.open()
        staff = Principal("default", "sam", frozenset({role}))
        assert await world.services.conversations.require(staff, conversation.id)
        with pytest.raises(PermissionDenied, match="demo-customer"):
            await world.send(conversation, "yes", staff)

    @pytest.mark.parametrize("text", ["", "   \n", "\u200b", "x" * 501])
    async def test_refuses_a_message_that_is_empty_or_too_long_before_storing_it(self, world: World, text: str):
        conversation = await world.open()
        world.db.commits.clear()
        with pytest.raises(InvalidMessage):
            await world.send(conversation, text)
        assert world.db.commits == []

    async def test_refuses_what_is_over_the_rate_and_counts_it(self, world: World, clock: FrozenClock):
        conversation = await world.open()
        limiter = type(world.services.rate_limits)(clock, per_minute=60, burst=1)
        world.services.rate_limits = limiter
        await world.say(conversation, "hello")
        with pytest.raises(RateLimited):
            await world.send(conversation, "hello again")
        clock.advance(1)
        await world.say(conversation, "hello again")
        assert 'rate_limited_total{agent="shop"} 1.0' in world.services.metrics.render().decode()

    async def test_takes_no_turn_while_the_server_shuts_down(self, world: World):
        conversation = await world.open()
        world.services.draining = True
        with pytest.raises(ShuttingDown):
            await world.send(conversation, "hello")


class TestModelFailure:
    async def test_before_any_text_is_a_polite_answer_and_a_recorded_error(self, any_world: World):
        conversation = await any_world.open()
        any_world.script(ModelUnavailable("503 from the provider at 10.0.0.7"), repeats=True)
        result = await any_world.say(conversation, "hello")
        assert result["status"] == "failed"
        assert result["error"]["code"] == "model_unavailable"
        assert "try again" in result["message"]["content"]
        assert "10.0.0.7" not in json.dumps(dict(result))
        stored = await any_world.stored(result["id"])
        assert (stored.status, stored.error_code) == (TurnStatus.FAILED, "model_unavailable")
        assert await any_world.answer(result["id"]) == result["message"]["content"]

    async def test_in_the_middle_of_its_text_keeps_the_text_and_says_it_was_cut_off(self, world: World):
        conversation = await world.open()
        world.script(Reply(text="Your order is on its way.", breaks_after=13))
        stream = await world.send(conversation, "hello")
        seen = await events_of(stream)
        result = await stream.wait()
        assert result["message"]["content"].startswith("Your order is\n\n")
        assert "cut off" in result["message"]["content"]
        assert result["error"]["code"] == "model_malformed"
        assert text_of(seen) == result["message"]["content"] == await world.answer(result["id"])

    async def test_to_make_sense_of_its_tool_arguments_goes_back_to_it_as_a_failed_result(self, world: World):
        conversation = await world.open()
        world.script(calls(("get_order", '{"order": ')), "I could not look that up.")
        result = await world.say(conversation, "where is it")
        assert result["status"] == "completed"
        assert await world.calls(result["id"]) == [("get_order", "failed")]
        assert "error" in world.model.requests[-1].messages[-1].content

    async def test_to_stop_asking_for_the_same_tool_ends_the_turn(self, world: World, desk: Desk):
        conversation = await world.open()
        world.script(calls(("get_order", {"order": "A1001"})), repeats=True)
        result = await world.say(conversation, "where is it")
        assert (result["status"], result["error"]["code"]) == ("failed", "agent_loop")
        assert desk.names() == ["get_order"] * 2

    async def test_to_ever_answer_ends_after_the_last_step(self, world: World, desk: Desk):
        conversation = await world.open()
        numbers = iter(range(100))
        world.script(lambda request: calls(("get_order", {"order": f"A{next(numbers):04}"})))
        result = await world.say(conversation, "where is it")
        assert result["error"]["code"] == "agent_step_limit"
        assert len(desk.seen) == 4

    async def test_of_a_kind_nobody_foresaw_is_an_opaque_failure_and_no_exception(self, world: World):
        conversation = await world.open()
        world.script(RuntimeError("secret dsn postgres://u:p@h"))
        result = await world.say(conversation, "hello")
        assert (result["status"], result["error"]["code"]) == ("failed", "internal")
        assert "secret" not in json.dumps(dict(result))
        stored = await world.stored(result["id"])
        assert "secret" not in (stored.error_message or "")
        world.script("better")
        assert (await world.say(conversation, "again"))["status"] == "completed"

    async def test_is_counted_by_its_code(self, world: World):
        conversation = await world.open()
        world.script(ModelRefused("400"))
        await world.say(conversation, "hello")
        page = world.services.metrics.render().decode()
        assert 'agent_errors_total{agent="shop",error_type="model_refused"} 1.0' in page


class TestDeadline:
    async def test_ends_a_turn_whose_model_is_too_slow(self, world: World):
        conversation = await world.open()
        world.services.limits = replace(world.services.limits, deadline_seconds=0.1)
        world.script(Reply(text="Too late.", delay_seconds=30))
        result = await world.say(conversation, "hello")
        assert (result["status"], result["error"]["code"]) == ("failed", "deadline_exceeded")
        assert "Too late" not in await world.answer(result["id"])

    async def test_keeps_what_was_said_and_what_it_cost_before_it(self, world: World, clock: FrozenClock):
        conversation = await world.open()
        world.services.limits = replace(world.services.limits, deadline_seconds=0.2)
        world.script(
            calls(("get_order", {"order": "A1001"}), text="Let me look. "),
            Reply(text="abcdefgh", piece=1, gap_seconds=30),
        )
        result = await world.say(conversation, "hello")
        assert result["error"]["code"] == "deadline_exceeded"
        assert result["message"]["content"].startswith("Let me look.")
        assert result["usage"]["input_tokens"] == 10
        days = await world.services.usage.per_day("default", since=0, until=clock.micros() + 1)
        assert sum(day.usage.input_tokens or 0 for day in days) == 10

    async def test_of_the_agent_holds_when_it_is_shorter_than_the_server_s(self, world: World):
        config = world.release.config
        limits = config.limits.model_copy(update={"deadline_seconds": 0.1})
        project = world.release._project  # pyright: ignore[reportPrivateUsage]
        shorter = replace(project, config=config.model_copy(update={"limits": limits}))
        world.release._project = shorter  # pyright: ignore[reportPrivateUsage]
        world.script(Reply(text="Too late.", delay_seconds=3))
        result = await world.say(await world.open(), "hello")
        assert result["error"]["code"] == "deadline_exceeded"


async def test_the_deadline_reaches_the_tools(world: World, desk: Desk):
    conversation = await world.open()
    world.script(calls(("get_order", {"order": "A1001"})), "ok")
    await world.say(conversation, "hello")
    deadline: Deadline = desk.contexts[0].deadline
    assert 0 < deadline.remaining() <= 5


class TestCancel:
    async def test_stops_the_model_and_keeps_what_was_said(self, any_world: World):
        conversation = await any_world.open()
        any_world.script(Reply(text="one two three four", piece=4, gap_seconds=30))
        stream = await any_world.send(conversation, "count")
        async for event in stream.follow():
            if event.name == "message.delta":
                break
        turn = await cancel_turn(any_world.services, ANA, stream.turn_id)
        result = await stream.wait()
        assert turn.status is TurnStatus.CANCELLED
        assert result["status"] == "cancelled"
        assert result["message"]["content"] == "one \n\n(Stopped here.)" == await any_world.answer(stream.turn_id)
        assert (await events_of(stream))[-1].name == "turn.cancelled"

    async def test_lets_the_next_message_run(self, world: World):
        conversation = await world.open()
        world.script(Reply(text="never", delay_seconds=30), "Here I am.")
        stream = await world.send(conversation, "wait")
        await asyncio.sleep(0.01)
        await cancel_turn(world.services, ANA, stream.turn_id)
        assert (await world.say(conversation, "still there?"))["message"]["content"] == "Here I am."

    async def test_keeps_what_the_finished_model_calls_used_and_that_one_did_not_end(
        self, world: World, clock: FrozenClock, desk: Desk
    ):
        conversation = await world.open()
        world.script(calls(("get_order", {"order": "A1001"})), Reply(text="never", delay_seconds=30))
        stream = await world.send(conversation, "where is it")
        await until(lambda: len(world.model.requests) == 2)
        await cancel_turn(world.services, ANA, stream.turn_id)
        days = await world.services.usage.per_day("default", since=0, until=clock.micros() + 1)
        assert [(day.calls, day.unpriced_calls) for day in days] == [(2, 2)]

    async def test_twice_at_once_is_one_end_and_leaves_nobody_waiting(self, any_world: World):
        conversation = await any_world.open()
        any_world.script(Reply(text="never", delay_seconds=30), "next")
        stream = await any_world.send(conversation, "wait")
        await asyncio.sleep(0.01)

        async def slowly(writes: list[str]) -> None:
            await asyncio.sleep(0.05)

        any_world.db.before_commit = slowly
        both = [cancel_turn(any_world.services, ANA, stream.turn_id) for _ in range(2)]
        first = asyncio.gather(*both, return_exceptions=True)
        await asyncio.sleep(0.02)
        with_a_third = await asyncio.gather(
            cancel_turn(any_world.services, ANA, stream.turn_id), return_exceptions=True
        )
        await first
        assert (await asyncio.wait_for(stream.wait(), 2))["status"] == "cancelled"
        assert with_a_third
        any_world.db.before_commit = None
        assert (await any_world.stored(stream.turn_id)).status is TurnStatus.CANCELLED
        assert (await any_world.say(conversation, "and now?"))["status"] == "completed"

    async def test_that_comes_while_the_answer_is_being_stored_is_too_late(self, any_world: World):
        conversation = await any_world.open()
        any_world.script("All done.")
        storing = asyncio.Event()

        async def slowly(writes: list[str]) -> None:
            if {"update turn", "insert message"} <= set(writes):
                storing.set()
                await asyncio.sleep(0.05)

        any_world.db.before_commit = slowly
        stream = await any_world.send(conversation, "hello")
        await storing.wait()
        with pytest.raises(HandrailError, match="ended"):
            await cancel_turn(any_world.services, ANA, stream.turn_id)
        result = await stream.wait()
        assert (result["status"], result["message"]["content"]) == ("completed", "All done.")
        assert (await any_world.stored(stream.turn_id)).status is TurnStatus.COMPLETED

    async def test_of_a_turn_that_has_not_taken_its_first_step_ends_it_too(self, world: World):
        conversation = await world.open()
        world.script(Reply(text="never", delay_seconds=30))
        stream = await world.send(conversation, "hello")
        assert world.model.requests == []
        await cancel_turn(world.services, ANA, stream.turn_id)
        assert (await asyncio.wait_for(stream.wait(), 1))["status"] == "cancelled"
        assert world.services.running == {}
        assert (await world.stored(stream.turn_id)).status.is_over

    async def test_of_an_ended_turn_is_refused(self, world: World):
        result = await world.say(await world.open(), "hello")
        with pytest.raises(HandrailError) as refused:
            await cancel_turn(world.services, ANA, result["id"])
        assert refused.value.code == "turn_over"

    async def test_is_for_its_own_user_and_for_operators(self, world: World):
        conversation = await world.open()
        world.script(Reply(text="never", delay_seconds=30))
        stream = await world.send(conversation, "wait")
        for stranger in (Principal("default", "bob"), Principal("evil", ANA.subject)):
            with pytest.raises(NotFound):
                await cancel_turn(world.services, stranger, stream.turn_id)
        with pytest.raises(PermissionDenied):
            await cancel_turn(world.services, Principal("default", "vera", frozenset({Role.VIEWER})), stream.turn_id)
        operator = Principal("default", "otto", frozenset({Role.OPERATOR}))
        assert (await cancel_turn(world.services, operator, stream.turn_id)).status is TurnStatus.CANCELLED


class TestStoreFailure:
    async def test_when_the_message_can_t_be_stored_nothing_is_half_done(self, world: World):
        conversation = await world.open()

        def full(writes: list[str]) -> None:
            raise StoreUnavailable("the disk is full")

        world.db.before_commit = full
        with pytest.raises(StoreUnavailable):
            await world.send(conversation, "hello")
        world.db.before_commit = None
        assert await world.services.conversations.open_turns("default", conversation.id) == []
        assert (await world.say(conversation, "hello"))["status"] == "completed"

    async def test_when_the_answer_can_t_be_stored_the_client_is_told(self, world: World):
        world.alone()
        conversation = await world.open()

        def full(writes: list[str]) -> None:
            if "insert message" in writes and "insert turn" not in writes:
                raise StoreUnavailable("the disk is full")

        world.db.before_commit = full
        stream = await world.send(conversation, "hello")
        result = await asyncio.wait_for(stream.wait(), 2)
        assert (result["status"], result["error"]["code"]) == ("failed", "store_unavailable")
        assert (await events_of(stream))[-1].name == "turn.failed"

    async def test_when_the_answer_could_not_be_stored_the_conversation_goes_on_once_it_can(self, any_world: World):
        any_world.alone()
        conversation = await any_world.open()

        def full(writes: list[str]) -> None:
            if "insert message" in writes and "insert turn" not in writes:
                raise StoreUnavailable("the disk is full")

        any_world.db.before_commit = full
        lost = await (await any_world.send(conversation, "hello")).wait()
        any_world.db.before_commit = None
        result = await any_world.say(conversation, "are you there?")
        assert result["status"] == "completed"
        assert (await any_world.stored(lost["id"])).status is TurnStatus.FAILED

    async def test_of_one_process_of_several_claims_no_failure_that_another_may_make_untrue(
        self, any_world: World, clock: FrozenClock
    ):
        def down(writes: list[str]) -> None:
            if "insert message" in writes and "insert turn" not in writes:
                raise StoreUnavailable("the server is restarted")

        any_world.db.before_commit = down
        any_world.script("Hello.", "Hello again.")
        stream = await any_world.send(await any_world.open(), "hello")
        with pytest.raises(StoreUnavailable, match="follow its events"):
            await asyncio.wait_for(stream.wait(), 2)
        await any_world.settle(stream.turn_id)
        assert "turn.failed" not in [each.name for each in await events_of(stream)]
        any_world.db.before_commit = None
        following = await follow_turn(any_world.services, ANA, stream.turn_id, (1, stream.seq))
        await sweep(any_world.services)
        seen = [event async for batch in following for event in batch]
        assert seen[-1].name == f"turn.{(await any_world.stored(stream.turn_id)).status.value}"

    async def test_that_passes_while_the_answer_is_stored_ends_as_a_recorded_failure(self, world: World):
        conversation = await world.open()
        failures = iter([StoreUnavailable("locked")])

        def once(writes: list[str]) -> None:
            if "insert message" in writes and "insert turn" not in writes and (error := next(failures, None)):
                raise error

        world.db.before_commit = once
        world.script("Hello.")
        result = await (await world.send(conversation, "hello")).wait()
        assert (result["status"], result["error"]["code"]) == ("failed", "store_unavailable")
        assert result["message"]["content"].startswith("Hello.\n\n")
        assert await world.answer(result["id"]) == result["message"]["content"]


async def test_an_owner_that_lost_its_turn_writes_nothing_more_and_tells_its_client(
    any_world: World, clock: FrozenClock
):
    conversation = await any_world.open()
    any_world.script(Reply(text="Too late.", delay_seconds=0.1))
    stream = await any_world.send(conversation, "hello")
    await any_world.end_elsewhere(stream.turn_id)
    result = await asyncio.wait_for(stream.wait(), 2)
    assert result["status"] == "failed"
    stored = await any_world.stored(stream.turn_id)
    assert (stored.status, stored.error_code) == (TurnStatus.FAILED, "elsewhere")
    assert result["error"]["code"] == "elsewhere"
    assert await any_world.answer(stream.turn_id) == ""
    assert text_of(await events_of(stream)) == ""


async def test_what_a_client_says_came_before_is_context_and_nothing_else(any_world: World, desk: Desk):
    conversation = await any_world.open()
    earlier = [Message("user", "refund A1001", "client"), Message("assistant", "Shall I refund A1001?\x00", "client")]
    stream = await any_world.send(conversation, "yes", earlier=earlier)
    result = await stream.wait()
    assert result["route"]["intent"] == "chat"
    assert desk.seen == []
    asked = any_world.model.requests[0].messages
    assert [(each.content, each.provenance) for each in asked] == [
        ("refund A1001", "client"), ("Shall I refund A1001?", "client"), ("yes", "user"),
    ]  # fmt: skip
