"""Where a turn goes: by confidence, or on with what the conversation waits for."""

import asyncio

import pytest

from handrail.core.clock import FrozenClock
from handrail.serving.models import Reply
from tests.flows.desk import Desk
from tests.flows.world import World, until

HALF_AN_HOUR = 30 * 60


class TestConfidence:
    async def test_above_the_threshold_acts_at_once(self, world: World, desk: Desk):
        conversation = await world.open()
        world.head.knows("where is A1001", "order_status", 0.91)
        desk.acts["get_order"] = lambda order: {"status": "shipped"}
        result = await world.say(conversation, "where is A1001")
        assert result["route"]["action"] == "execute"
        assert result["message"]["content"] == "Order A1001 is shipped."
        assert await world.calls(result["id"]) == [("get_order", "completed")]
        assert world.model.requests == []

    @pytest.mark.parametrize("confidence", [0.9, 0.61])
    async def test_in_the_middle_asks_first(self, any_world: World, desk: Desk, confidence: float):
        conversation = await any_world.open()
        any_world.head.knows("A1001?", "order_status", confidence)
        result = await any_world.say(conversation, "A1001?")
        assert result["status"] == "completed"
        assert result["route"]["action"] == "confirm"
        assert result["message"]["content"] == "Just to be sure: do you want to track an order?"
        assert desk.seen == []
        assert await any_world.awaiting(conversation) == "confirm"
        stored = await any_world.stored(result["id"])
        assert (stored.action, stored.intent, stored.confidence) == ("confirm", "order_status", confidence)
        assert stored.route is not None
        assert "not 0.9" in stored.route["reason"]

    @pytest.mark.parametrize("confidence", [0.6, 0.2])
    async def test_below_offers_the_two_likeliest(self, world: World, desk: Desk, confidence: float):
        conversation = await world.open()
        world.head.knows("my thing", "order_status", confidence, second="refund")
        result = await world.say(conversation, "my thing")
        assert result["route"]["choices"] == ["order_status", "refund"]
        assert "(1) track an order" in result["message"]["content"]
        assert "(2) get a refund" in result["message"]["content"]
        assert await world.awaiting(conversation) == "clarify"

    async def test_twice_below_hands_over_with_a_case_for_people(self, any_world: World):
        conversation = await any_world.open()
        any_world.head.knows("blah", "order_status", 0.3, second="refund")
        any_world.head.knows("bleh", "order_status", 0.3, second="refund")
        await any_world.say(conversation, "blah")
        result = await any_world.say(conversation, "bleh")
        assert (result["status"], result["route"]["action"]) == ("completed", "handoff")
        case = await any_world.services.escalations.find("default", result["escalation_id"])
        assert case is not None
        assert (case.team, case.turn_id, case.conversation_id) == ("support", result["id"], conversation.id)
        assert "blah" in str(case.summary)
        assert "bleh" in str(case.summary)
        assert "colleague" in result["message"]["content"]
        assert 'escalations_total{agent="shop",team="support"} 1.0' in any_world.services.metrics.render().decode()

    async def test_understood_in_between_the_count_of_failures_begins_anew(self, world: World):
        conversation = await world.open()
        world.head.knows("blah", "order_status", 0.3, second="refund")
        await world.say(conversation, "blah")
        await world.say(conversation, "hello")
        assert (await world.say(conversation, "blah"))["route"]["action"] == "clarify"

    async def test_of_an_intent_that_is_a_tool_calls_it(self, world: World, desk: Desk):
        world.head.knows("open?", "hours")
        desk.acts["opening_hours"] = lambda: "Nine to five."
        result = await world.say(await world.open(), "open?")
        assert result["message"]["content"] == "Nine to five."

    async def test_when_that_tool_fails_hands_over(self, world: World, desk: Desk):
        world.head.knows("open?", "hours")

        def down() -> None:
            raise RuntimeError("no connection to db://secret")

        desk.acts["opening_hours"] = down
        result = await world.say(await world.open(), "open?")
        assert result["escalation_id"]
        assert "secret" not in str(result)


class TestConfirm:
    async def ask(self, world: World, text: str = "A1001?") -> tuple[str, object]:
        conversation = await world.open()
        world.head.knows(text, "order_status", 0.7)
        await world.say(conversation, text)
        return text, conversation

    async def test_yes_acts_on_the_message_that_was_asked_about(self, any_world: World, desk: Desk):
        _, conversation = await self.ask(any_world)
        result = await any_world.say(conversation, "yes please")
        assert result["route"] == {
            "action": "execute", "intent": "order_status", "confidence": 1.0, "reason": "the user confirmed",
            "choices": [],
        }  # fmt: skip
        assert desk.seen == [("get_order", {"order": "A1001"})]
        assert await any_world.awaiting(conversation) is None

    async def test_no_does_nothing_and_says_so(self, world: World, desk: Desk):
        _, conversation = await self.ask(world)
        result = await world.say(conversation, "no")
        assert result["route"]["action"] == "declined"
        assert desk.seen == []
        assert await world.awaiting(conversation) is None

    async def test_another_message_is_read_as_a_new_one(self, world: World, desk: Desk):
        _, conversation = await self.ask(world)
        result = await world.say(conversation, "tell me a joke")
        assert result["route"]["intent"] == "chat"
        assert (await world.say(conversation, "yes"))["route"]["intent"] == "chat"
        assert desk.seen == []

    async def test_a_second_yes_does_nothing_again(self, any_world: World, desk: Desk):
        _, conversation = await self.ask(any_world)
        await any_world.say(conversation, "yes")
        await any_world.say(conversation, "yes")
        assert desk.names() == ["get_order"]

    async def test_a_yes_after_half_an_hour_comes_too_late(self, any_world: World, desk: Desk, clock: FrozenClock):
        _, conversation = await self.ask(any_world)
        clock.advance(HALF_AN_HOUR + 1)
        result = await any_world.say(conversation, "yes")
        assert result["route"]["intent"] == "chat"
        assert desk.seen == []

    async def test_a_yes_within_half_an_hour_counts(self, world: World, desk: Desk, clock: FrozenClock):
        _, conversation = await self.ask(world)
        clock.advance(HALF_AN_HOUR)
        await world.say(conversation, "yes")
        assert desk.names() == ["get_order"]


class TestClarify:
    async def offered(self, world: World):
        conversation = await world.open()
        world.head.knows("A1001 thing", "order_status", 0.4, second="refund")
        await world.say(conversation, "A1001 thing")
        return conversation

    @pytest.mark.parametrize("answer", ["2", "the second one", "refund"])
    async def test_a_choice_acts_on_the_first_message(self, world: World, desk: Desk, answer: str):
        conversation = await self.offered(world)
        result = await world.say(conversation, answer)
        assert (result["route"]["action"], result["route"]["intent"]) == ("execute", "refund")
        assert result["message"]["content"] == "Shall I refund A1001?"

    async def test_a_clear_other_wish_is_followed(self, world: World, desk: Desk):
        conversation = await self.offered(world)
        assert (await world.say(conversation, "tell me a joke"))["route"]["intent"] == "chat"

    async def test_neither_is_the_second_failure(self, world: World):
        conversation = await self.offered(world)
        world.head.knows("neither", "order_status", 0.3)
        assert (await world.say(conversation, "neither"))["route"]["action"] == "handoff"


class TestInsideAFlow:
    async def test_a_missing_value_is_asked_for_and_taken(self, any_world: World, desk: Desk):
        conversation = await any_world.open()
        any_world.head.knows("where is my order", "order_status")
        desk.acts["get_order"] = lambda order: {"status": "shipped"}
        asked = await any_world.say(conversation, "where is my order")
        assert (asked["message"]["content"], await any_world.awaiting(conversation)) == ("Which order?", "slot")
        answered = await any_world.say(conversation, "A1002")
        assert (answered["route"]["action"], answered["message"]["content"]) == ("continue", "Order A1002 is shipped.")

    async def test_a_confirmed_write_happens_once_however_often_yes_is_said(self, any_world: World, desk: Desk):
        conversation = await any_world.open()
        any_world.head.knows("money back for A1001", "refund")
        await any_world.say(conversation, "money back for A1001")
        done = await any_world.say(conversation, "yes")
        await any_world.say(conversation, "yes")
        assert desk.seen == [("refund", {"order": "A1001"})]
        assert await any_world.calls(done["id"]) == [("refund", "completed")]
        assert done["message"]["content"] == "Order A1001 is refunded."

    async def test_two_yeses_sent_at_once_are_one_confirmation(self, any_world: World, desk: Desk):
        conversation = await any_world.open()
        any_world.head.knows("money back for A1001", "refund")
        await any_world.say(conversation, "money back for A1001")
        first, second = await asyncio.gather(any_world.send(conversation, "yes"), any_world.send(conversation, "yes"))
        await first.wait()
        await asyncio.wait_for(second.wait(), 5)
        assert desk.names() == ["refund"]

    async def test_a_yes_that_overtakes_the_end_of_the_first_yes_is_no_confirmation(self, any_world: World, desk: Desk):
        """The second turn is read before the first has ended and stored after it."""
        conversation = await any_world.open()
        any_world.head.knows("money back for A1001", "refund")
        await any_world.say(conversation, "money back for A1001")
        first_may_end, second_may_begin = asyncio.Event(), asyncio.Event()
        held: list[str] = []

        async def hold(writes: list[str]) -> None:
            if {"update turn", "insert message"} <= set(writes) and "first" not in held:
                held.append("first")
                await first_may_end.wait()
            elif "insert turn" in writes and "first" in held and "second" not in held:
                held.append("second")
                await second_may_begin.wait()

        any_world.db.before_commit = hold
        first = await any_world.send(conversation, "yes")
        await until(lambda: held == ["first"])
        second = asyncio.create_task(any_world.send(conversation, "yes"))
        await until(lambda: held == ["first", "second"])
        first_may_end.set()
        await first.wait()
        second_may_begin.set()
        await (await second).wait()
        assert desk.names() == ["refund"]

    async def test_a_yes_after_half_an_hour_moves_no_money(self, world: World, desk: Desk, clock: FrozenClock):
        conversation = await world.open()
        world.head.knows("money back for A1001", "refund")
        await world.say(conversation, "money back for A1001")
        clock.advance(HALF_AN_HOUR + 1)
        await world.say(conversation, "yes")
        assert desk.seen == []

    async def test_a_clear_wish_for_something_else_leaves_the_flow(self, world: World, desk: Desk):
        conversation = await world.open()
        world.head.knows("money back for A1001", "refund")
        world.head.knows("where is A1002", "order_status")
        desk.acts["get_order"] = lambda order: {"status": "shipped"}
        await world.say(conversation, "money back for A1001")
        result = await world.say(conversation, "where is A1002")
        assert result["message"]["content"] == "Order A1002 is shipped."
        await world.say(conversation, "yes")
        assert "refund" not in desk.names()

    async def test_an_unclear_answer_stays_in_the_flow(self, world: World, desk: Desk):
        conversation = await world.open()
        world.head.knows("money back for A1001", "refund")
        world.head.knows("hm", "order_status", 0.7)
        await world.say(conversation, "money back for A1001")
        result = await world.say(conversation, "hm")
        assert result["route"]["action"] == "continue"
        assert "yes or no" in result["message"]["content"]
        assert await world.awaiting(conversation) == "flow_confirm"

    async def test_an_unknown_outcome_of_a_write_goes_to_people_and_is_not_tried_again(
        self, any_world: World, desk: Desk
    ):
        conversation = await any_world.open()
        any_world.head.knows("money back for A1001", "refund")
        desk.acts["refund"] = lambda order: asyncio.sleep(5)
        await any_world.say(conversation, "money back for A1001")
        result = await any_world.say(conversation, "yes")
        assert await any_world.calls(result["id"]) == [("refund", "unknown")]
        case = await any_world.services.escalations.find("default", result["escalation_id"])
        assert case is not None
        assert "unknown" in str(case.summary)
        await any_world.say(conversation, "yes")
        assert desk.names() == ["refund"]


async def test_an_agent_without_intents_gives_everything_to_the_loop(world: World):
    conversation = await world.open()
    world.release.head = None
    result = await world.say(conversation, "hello")
    assert (result["route"]["action"], result["route"]["intent"]) == ("execute", None)
    assert result["status"] == "completed"


async def test_a_failed_turn_confirms_nothing_later(world: World, desk: Desk):
    conversation = await world.open()
    world.head.knows("A1001?", "order_status", 0.7)
    await world.say(conversation, "A1001?")
    world.script(Reply(error=RuntimeError("down")), "fine")
    await world.say(conversation, "something else")
    await world.say(conversation, "yes")
    assert desk.seen == []
