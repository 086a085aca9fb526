from typing import Any

import orjson
import pytest

from handrail.core.deadline import Deadline, DeadlineExceeded
from handrail.core.messages import Message
from handrail.core.models import ModelEvent, ModelMalformed, ModelRequest, ModelUnavailable, ReasoningDelta, TextDelta
from handrail.serving.models import Reply, ScriptedModel, ScriptExhausted, calls


def ask(text: str = "hi") -> ModelRequest:
    return ModelRequest("", [Message("user", text)])


async def said(model: ScriptedModel, request: ModelRequest | None = None, seconds: float = 5.0) -> list[ModelEvent]:
    return [event async for event in model.stream(request or ask(), Deadline.after(seconds))]


async def last(model: ScriptedModel, request: ModelRequest | None = None) -> Any:
    return (await said(model, request))[-1]


class TestScriptedModel:
    async def test_gives_its_replies_one_after_another(self) -> None:
        model = ScriptedModel(["Hello", calls(("get_order", {"order_id": "A1001"})), "It is on its way"])
        answers = [await last(model) for _ in range(3)]
        assert [answer.text for answer in answers] == ["Hello", "", "It is on its way"]
        assert [answer.finish_reason for answer in answers] == ["stop", "tool_calls", "stop"]
        call = answers[1].tool_calls[0]
        assert (call.name, orjson.loads(call.arguments)) == ("get_order", {"order_id": "A1001"})

    async def test_says_when_its_script_is_at_an_end(self) -> None:
        model = ScriptedModel(["only"])
        await said(model)
        with pytest.raises(ScriptExhausted, match="1 replies; call 2"):
            await said(model)

    async def test_begins_again_when_it_repeats(self) -> None:
        model = ScriptedModel(["a", "b"], repeats=True)
        assert [(await last(model)).text for _ in range(3)] == ["a", "b", "a"]

    async def test_a_function_may_answer_each_request(self) -> None:
        model = ScriptedModel(lambda request: request.messages[-1].content.upper())
        assert (await last(model, ask("shout"))).text == "SHOUT"

    async def test_keeps_what_it_was_asked(self) -> None:
        model = ScriptedModel(["a", "b"])
        await said(model, ask("first"))
        await said(model, ask("second"))
        assert [request.messages[0].content for request in model.requests] == ["first", "second"]

    async def test_does_not_keep_it_for_ever(self) -> None:
        model = ScriptedModel(["a"], repeats=True)
        for _ in range(1_001):
            await said(model, ask())
        assert len(model.requests) == 1_000

    async def test_raises_the_errors_of_its_script(self) -> None:
        with pytest.raises(ModelUnavailable, match="down"):
            await said(ScriptedModel([ModelUnavailable("down")]))

    async def test_streams_in_pieces_after_its_reasoning(self) -> None:
        events = await said(ScriptedModel([Reply("abcde", piece=2, reasoning="hm")]))
        assert events[:-1] == [ReasoningDelta("hm"), TextDelta("ab"), TextDelta("cd"), TextDelta("e")]

    @pytest.mark.parametrize(("at", "shown"), [(0, False), (2, True)])
    async def test_breaks_off_where_it_is_told_to(self, at: int, shown: bool) -> None:
        with pytest.raises(ModelMalformed) as raised:
            await said(ScriptedModel([Reply("abcde", breaks_after=at)]))
        assert raised.value.after_text is shown

    async def test_malformed_arguments_are_passed_on(self) -> None:
        assert (await last(ScriptedModel([calls(("f", '{"a":'))]))).tool_calls[0].arguments == '{"a":'

    async def test_a_slow_model_stops_at_the_deadline(self) -> None:
        with pytest.raises(DeadlineExceeded):
            await said(ScriptedModel([Reply("a", delay_seconds=30)]), seconds=0.02)
