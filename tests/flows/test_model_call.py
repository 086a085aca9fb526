"""The governor of model calls: who is asked, how often, for how long, and what the user sees of it."""

import asyncio
import random
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import looptime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handrail.core.clock import FrozenClock
from handrail.core.deadline import Deadline, DeadlineExceeded
from handrail.core.messages import Message
from handrail.core.models import (
    ModelAnswer,
    ModelDenied,
    ModelError,
    ModelMalformed,
    ModelRateLimited,
    ModelRefused,
    ModelRequest,
    ModelUnavailable,
)
from handrail.core.principal import Principal
from handrail.core.usage import MOST_TOKENS, Usage
from handrail.flows.cancel import cancel_turn
from handrail.flows.model_call import GovernedModel
from handrail.flows.services import ActiveTurn, Services, TurnLimits
from handrail.insight.costs import PriceBook
from handrail.insight.traces import TurnTrace
from handrail.serving.models import ModelTier, Reply, ScriptedModel, calls
from handrail.serving.resilience import BreakerPolicy, Breakers, BreakerState, Retries, Switchboard, Waits, model_key
from handrail.telemetry.metrics import Metrics
from handrail.telemetry.trace import trace_context
from tests.flows.desk import Desk
from tests.flows.world import ANA, World, events_of, text_of, until

DOWN = ModelUnavailable("503 from the provider")
FIRST = model_key("scripted", "model-1", None)


def rungs(result: Any) -> list[tuple[str, str, str | None]]:
    return [(step["rung"], step["source"], step.get("failed")) for step in result.get("ladder", ())]


class TestBeforeTheFirstToken:
    async def test_a_passing_failure_is_tried_again_and_nobody_sees_it(self, world: World):
        world.script(DOWN, "Here I am.")
        stream = await world.send(await world.open(), "hello")
        seen = await events_of(stream)
        assert "message.restarted" not in {event.name for event in seen}
        result = await stream.wait()
        assert (result["status"], result["message"]["content"]) == ("completed", "Here I am.")
        assert rungs(result) == [("primary", "large", "model_unavailable"), ("retry", "large", None)]

    async def test_an_answer_at_once_leaves_no_record(self, world: World):
        result = await world.say(await world.open(), "hello")
        assert "ladder" not in result
        assert 'handrail_rungs_total{agent="shop",kind="model",rung="primary"} 1.0' in _page(world)

    @pytest.mark.parametrize("error", [DOWN, ModelMalformed("not JSON"), ModelDenied("401"), ModelRateLimited("429")])
    async def test_the_next_model_answers_silently(self, any_world: World, error: ModelError):
        first, second = any_world.script_chain([error], ["The second speaks."])
        stream = await any_world.send(await any_world.open(), "hello")
        seen = await events_of(stream)
        assert "message.restarted" not in {event.name for event in seen}
        result = await stream.wait()
        assert text_of(seen) == "The second speaks." == await any_world.answer(stream.turn_id)
        assert rungs(result)[-1] == ("secondary", "tier-2", None)
        assert (await any_world.stored(stream.turn_id)).ladder == result["ladder"]
        assert len(first.requests) == (3 if error.retryable else 1)
        assert len(second.requests) == 1
        page = _page(any_world)
        assert 'handrail_rungs_total{agent="shop",kind="model",rung="secondary"} 1.0' in page
        assert f'model_fallbacks_total{{error_type="{error.code}",model="model-1",to="model-2"}} 1.0' in page

    async def test_a_refused_request_is_wrong_everywhere(self, world: World):
        _, second = world.script_chain([ModelRefused("400")], ["no"])
        result = await world.say(await world.open(), "hello")
        assert result["error"]["code"] == "model_refused"
        assert second.requests == []

    async def test_a_hanging_model_is_left_for_the_next_in_time(self, world: World):
        hanging = Reply(text="never", delay_seconds=60)
        world.script_chain([hanging], ["In time."])
        world.release.chain = (ModelTier("slow", world.release.chain[0].client, 0.05), world.release.chain[1])
        result = await world.say(await world.open(), "hello")
        assert result["message"]["content"] == "In time."
        assert rungs(result) == [("primary", "slow", "model_too_slow"), ("secondary", "tier-2", None)]
        assert world.services.breakers.states()[0].failed == 1

    async def test_a_short_deadline_is_shared_between_the_models(self, world: World):
        world.release.config.limits.__dict__["deadline_seconds"] = 0.4
        world.script_chain([Reply(text="never", delay_seconds=60)], ["Just in time."])
        result = await world.say(await world.open(), "hello")
        assert result["message"]["content"] == "Just in time."

    async def test_retry_after_is_waited_out_where_there_is_no_other_model(self, world: World):
        asked: list[float] = []

        def script(_: ModelRequest) -> Any:
            asked.append(asyncio.get_running_loop().time())
            return ModelRateLimited("429", retry_after_seconds=0.2) if len(asked) == 1 else "Now."

        world.script(script)
        assert (await world.say(await world.open(), "hello"))["message"]["content"] == "Now."
        assert asked[1] - asked[0] >= 0.2

    async def test_nobody_waits_long_while_another_model_could_answer(self, world: World):
        first, _ = world.script_chain([ModelRateLimited("429", retry_after_seconds=2)], ["At once."])
        result = await world.say(await world.open(), "hello")
        assert result["message"]["content"] == "At once."
        assert len(first.requests) == 1

    async def test_retries_are_a_small_part_of_all_calls(self, world: World):
        model = world.script(lambda _: DOWN)
        world.services.breakers = Breakers(FrozenClock(), lambda key: BreakerPolicy(minimum_calls=100))
        conversations = [await world.open() for _ in range(8)]
        for conversation in conversations:
            await world.say(conversation, "hello")
        # A burst of three, and a tenth of eight calls.
        assert len(model.requests) == 8 + 3


class TestWhatAProviderCounts:
    @pytest.mark.parametrize("count", [-1, MOST_TOKENS + 1, 10**12, 10**30])
    async def test_what_can_t_be_costs_no_answer_and_counts_as_unknown(self, any_world: World, count: int):
        any_world.script(Reply("hello", usage=Usage(count, 3, None)))
        ended = await any_world.say(await any_world.open(), "hello there")
        turn = await any_world.stored(ended["id"])
        assert (ended["status"], turn.status) == ("completed", "completed")
        assert turn.usage == Usage(None, 3)


class TestAfterTheFirstToken:
    async def test_another_model_begins_anew_and_the_client_is_told(self, any_world: World):
        any_world.script_chain([Reply(text="Your parcel is lost", breaks_after=14)], ["It is on its way."])
        stream = await any_world.send(await any_world.open(), "hello")
        seen = await events_of(stream)
        restarts = [event.data["text"] for event in seen if event.name == "message.restarted"]
        assert restarts == [""]
        assert text_of(seen) == "It is on its way." == await any_world.answer(stream.turn_id)
        assert rungs(await stream.wait()) == [("primary", "tier-1", "model_malformed"), ("secondary", "tier-2", None)]

    async def test_what_was_said_before_the_tools_stays(self, world: World, desk: Desk):
        asks = calls(("get_stock", {"item": "kettle"}), text="Let me look.")
        world.script_chain([asks, Reply(text="There are five", breaks_after=9)], ["Three are left."])
        stream = await world.send(await world.open(), "hello")
        seen = await events_of(stream)
        assert text_of(seen) == "Let me look.\n\nThree are left."
        assert (await stream.wait())["message"]["content"] == text_of(seen)

    async def test_it_is_not_tried_again(self, world: World):
        model = world.script(Reply(text="Your order is lost", breaks_after=8))
        result = await world.say(await world.open(), "hello")
        assert result["error"]["code"] == "model_malformed"
        assert len(model.requests) == 1

    async def test_half_an_answer_stays_until_there_is_a_better_one(self, world: World):
        world.script_chain([Reply(text="Your order is lost", breaks_after=13)], [DOWN])
        stream = await world.send(await world.open(), "hello")
        seen = await events_of(stream)
        assert "message.restarted" not in {event.name for event in seen}
        text = (await stream.wait())["message"]["content"]
        assert text.startswith("Your order is\n\n")
        assert "cut off" in text
        assert text == text_of(seen)

    async def test_a_break_counts_in_the_breaker(self, world: World):
        world.script_chain([Reply(text="Your order", breaks_after=4)], ["Fine."])
        await world.say(await world.open(), "hello")
        (status, *_) = world.services.breakers.states()
        assert (status.key, status.calls, status.failed) == (FIRST, 1, 1)


class TestBreaker:
    async def test_an_open_one_is_passed_over_without_a_call(self, world: World):
        first, _ = world.script_chain([DOWN], ["The second."])
        world.services.breakers.force_open(FIRST, "a drill")
        result = await world.say(await world.open(), "hello")
        assert result["message"]["content"] == "The second."
        assert rungs(result) == [("primary", "tier-1", "breaker_open"), ("secondary", "tier-2", None)]
        assert first.requests == []

    async def test_opens_after_ten_failures_and_closes_by_probes(self, world: World, clock: FrozenClock):
        is_down = True
        first, _ = world.script_chain(lambda _: DOWN if is_down else "The first.", ["The second."])
        while world.services.breakers.states()[:1] == [] or _state(world) is BreakerState.CLOSED:
            await world.say(await world.open(), "hello")
        asked = len(first.requests)
        assert asked == 10
        await world.say(await world.open(), "hello")
        assert len(first.requests) == asked
        is_down = False
        clock.advance(61)
        for _ in range(10):
            assert (await world.say(await world.open(), "hello"))["message"]["content"] == "The first."
        assert _state(world) is BreakerState.CLOSED

    async def test_opens_for_slow_calls(self, world: World, clock: FrozenClock):
        def slowly(_: ModelRequest) -> str:
            clock.advance(12)
            return "At last."

        world.script_chain(slowly, ["The second."])
        for _ in range(10):
            await world.say(await world.open(), "hello")
        assert _state(world) is BreakerState.OPEN

    async def test_with_all_open_the_user_hears_an_honest_word_at_once(self, world: World):
        model = world.script("no")
        world.services.breakers.force_open(model_key("scripted", "scripted", None), "a drill")
        result = await world.say(await world.open(), "hello")
        assert result["error"]["code"] == "model_unavailable"
        assert rungs(result) == [("primary", "large", "breaker_open"), ("honest", "nobody", None)]
        assert model.requests == []

    async def test_a_stopped_call_says_nothing_about_the_model(self, world: World):
        world.script_chain([Reply(text="one two three", piece=4, gap_seconds=30)])
        stream = await world.send(await world.open(), "count")
        await until(lambda: stream.text == "one ")
        await cancel_turn(world.services, ANA, stream.turn_id)
        assert world.services.breakers.states()[0].calls == 0

    async def test_time_that_a_model_used_up_counts_against_it(self, world: World):
        world.release.config.limits.__dict__["deadline_seconds"] = 0.2
        world.script_chain([Reply(text="one two three", piece=4, gap_seconds=30)])
        result = await world.say(await world.open(), "count")
        assert result["error"]["code"] == "deadline_exceeded"
        assert world.services.breakers.states()[0].failed == 1


class TestNobodyAnswers:
    async def test_the_user_is_told_and_people_are_asked_once(self, any_world: World):
        any_world.script_chain([DOWN], [DOWN])
        conversation = await any_world.open()
        first = await any_world.say(conversation, "hello")
        assert first["error"]["code"] == "model_unavailable"
        assert rungs(first)[-1] == ("honest", "nobody", None)
        assert "can't answer right now" in first["message"]["content"]
        assert "to the support team" in first["message"]["content"]
        found = await any_world.services.escalations.find("default", first["escalation_id"])
        assert found is not None
        assert found.reason == "no model answered (model_unavailable)"
        again = await any_world.say(conversation, "are you there?")
        assert "escalation_id" not in again
        assert "support team" not in again["message"]["content"]

    async def test_a_project_may_leave_people_out_of_it(self, world: World):
        world.release.config.handoff.__dict__["when_unanswered"] = False
        world.script(lambda _: DOWN)
        result = await world.say(await world.open(), "hello")
        assert "escalation_id" not in result


class Asked:
    """A governor over models and a clock that only waiting moves, and what it needs of a turn."""

    def __init__(self, scripts: list[Reply], seconds: float, first_token_seconds: float) -> None:
        loop = asyncio.get_running_loop()
        self.deadline = Deadline.after(seconds, loop.time)
        clock = SimpleNamespace(monotonic=loop.time, micros=lambda: int(loop.time() * 1e6))
        chain = [
            ModelTier(f"tier-{place}", ScriptedModel([each], model=f"m{place}", repeats=True))
            for place, each in enumerate(scripts)
        ]
        self.services = SimpleNamespace(
            clock=clock,
            breakers=Breakers(cast(Any, clock)),
            retries=Retries(random.Random(0)),
            metrics=Metrics(),
            switches=Switchboard(),
            limits=TurnLimits(first_token_seconds=first_token_seconds),
            prices=PriceBook(),
            charge_tokens=lambda principal, usage: None,
        )
        self.active = SimpleNamespace(
            release=SimpleNamespace(chain=chain),
            turn=SimpleNamespace(agent="shop", tenant_id="default"),
            waits=Waits(loop.time),
            ladder=[],
            trace=TurnTrace(trace_context(), 1),
            principal=Principal("default", "ana"),
            calls=[],
            is_call_lost=False,
        )

    async def answer(self) -> ModelAnswer | ModelError | DeadlineExceeded:
        model = GovernedModel(cast(Services, self.services), cast(ActiveTurn, self.active))
        last: Any = None
        try:
            async for event in model.stream(ModelRequest("", [Message("user", "hi")]), self.deadline):
                last = event
        except (ModelError, DeadlineExceeded) as error:
            return error
        return last


SECONDS = st.sampled_from([0.0, 0.1, 1.0, 7.0, 30.0, 500.0])
ERRORS = st.one_of(
    st.none(),
    st.builds(ModelUnavailable, st.just("down")),
    st.builds(ModelRateLimited, st.just("429"), retry_after_seconds=SECONDS),
    st.builds(ModelRefused, st.just("400")),
    st.builds(ModelDenied, st.just("401")),
)
REPLIES = st.builds(
    Reply,
    text=st.sampled_from(["", "some words of an answer"]),
    error=ERRORS,
    delay_seconds=SECONDS,
    gap_seconds=SECONDS,
    piece=st.sampled_from([0, 5]),
    breaks_after=st.sampled_from([None, 0, 7]),
)


def on_loop_time(test: Callable[[], Any]) -> Any:
    loop = looptime.new_event_loop()
    try:
        return loop.run_until_complete(test())
    finally:
        loop.close()


class TestDeadline:
    @settings(max_examples=150, deadline=None)
    @given(st.lists(REPLIES, min_size=1, max_size=4), st.sampled_from([0.5, 5.0, 60.0]), st.sampled_from([2.0, 20.0]))
    def test_no_way_down_the_chain_takes_longer(self, scripts: list[Reply], seconds: float, first_token: float):
        async def ask() -> None:
            asked = Asked(scripts, seconds, first_token)
            await asked.answer()
            assert asyncio.get_running_loop().time() <= asked.deadline.at + 0.02
            steps = asked.active.ladder
            assert not steps or "failed" not in steps[-1], "a record ends with what the user got"

        on_loop_time(ask)

    @settings(max_examples=80, deadline=None)
    @given(st.lists(REPLIES, min_size=1, max_size=3))
    def test_a_sound_model_at_the_end_answers_unless_the_request_or_the_first_words_are_wrong(self, above: list[Reply]):
        """However the models above it fail before their first token, there is time for the last."""
        above = [
            Reply(error=each.error or ModelUnavailable("down"), delay_seconds=each.delay_seconds) for each in above
        ]

        async def ask() -> None:
            asked = Asked([*above, Reply(text="yes")], 60.0, 10.0)
            end = await asked.answer()
            hopeless = any(
                isinstance(each.error, ModelRefused) and not isinstance(each.error, ModelDenied) for each in above
            )
            assert hopeless or (isinstance(end, ModelAnswer) and end.text == "yes")

        on_loop_time(ask)


def _page(world: World) -> str:
    return world.services.metrics.render().decode()


def _state(world: World) -> BreakerState:
    return world.services.breakers.states()[0].state
