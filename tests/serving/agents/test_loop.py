import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

import pytest

from handrail.core.answers import AnswerEvent, ModelCalled, Outcome, Said, TakenBack
from handrail.core.deadline import Deadline, DeadlineExceeded
from handrail.core.errors import TurnPaused
from handrail.core.messages import Message, Passage, ToolCall, ToolResult
from handrail.core.models import (
    ModelAnswer,
    ModelClient,
    ModelEvent,
    ModelMalformed,
    ModelRateLimited,
    ModelRefused,
    ModelRequest,
    ModelUnavailable,
    ReasoningDelta,
    Restarted,
    TextDelta,
)
from handrail.core.tools import Tool
from handrail.core.usage import Usage
from handrail.serving.agents import LoopLimits, LoopRequest, Wording, answer

WORDING = Wording()
TOOL = Tool("get_order", "Look up an order.", {}, function=print, parse=dict)


class Script:
    """A model client that plays lists of events and errors; the agents room knows no other room's fakes."""

    provider, model = "fake", "configured"

    def __init__(self, *answers: Sequence[ModelEvent | Exception | float]) -> None:
        self.requests: list[ModelRequest] = []
        self.closed = 0
        self._answers = iter(answers)

    async def stream(self, request: ModelRequest, deadline: Deadline) -> AsyncGenerator[ModelEvent]:
        self.requests.append(request)
        try:
            for event in next(self._answers):
                if isinstance(event, Exception):
                    raise event
                if isinstance(event, float):
                    await asyncio.sleep(event)
                else:
                    yield event
        finally:
            self.closed += 1

    async def close(self) -> None: ...


def says(*pieces: str, finish: str = "stop", sources: tuple[str, ...] = ()) -> list[ModelEvent]:
    whole = ModelAnswer("".join(pieces), (), Usage(10, 5), finish, "reported", "fake", sources=sources)
    return [*(TextDelta(piece) for piece in pieces), whole]


def wants(*calls: ToolCall, text: str = "", finish: str = "tool_calls", opaque: str | None = None) -> list[ModelEvent]:
    whole = ModelAnswer(text, calls, Usage(10, 5), finish, "reported", "fake", opaque)
    return [TextDelta(text), whole] if text else [whole]


def call(
    id: str = "call_1", arguments: str = "{}", name: str = "get_order", provider_id: str | None = None
) -> ToolCall:
    return ToolCall(id, name, arguments, provider_id)


class Tools:
    """Answers every call with its own id, in reverse order, and keeps what it was asked."""

    def __init__(self, error: Exception | None = None) -> None:
        self.messages: list[Message] = []
        self._error = error

    async def __call__(self, message: Message, calls: Sequence[ToolCall]) -> Sequence[ToolResult]:
        self.messages.append(message)
        if self._error is not None:
            raise self._error
        return [ToolResult(each.id, each.name, f'"result of {each.id}"') for each in reversed(calls)]


async def run(client: ModelClient, tools: Tools | None = None, *messages: Message, **options: Any) -> list[AnswerEvent]:
    limits = options.pop("limits", LoopLimits())
    request = LoopRequest("Be kind.", messages or [Message("user", "hi")], [TOOL], **options)
    stream = answer(request, client=client, call_tools=tools or Tools(), deadline=Deadline.after(5), limits=limits)
    return [event async for event in stream]


def text_of(events: Sequence[AnswerEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, Said))


class TestAnAnswer:
    async def test_is_streamed_then_counted_then_ended(self) -> None:
        events = await run(Script(says("Hel", "lo")))
        assert events[:2] == [Said("Hel"), Said("lo")]
        assert isinstance(events[2], ModelCalled)
        assert (events[2].provider, events[2].model, events[2].usage) == ("fake", "reported", Usage(10, 5))
        assert events[3:] == [Outcome("answered")]

    async def test_asks_the_model_with_all_it_was_given(self) -> None:
        client = Script(says("a"))
        await run(client, output_schema={"type": "object"}, parameters={"seed": 1}, tool_choice="none")
        assert client.requests == [
            ModelRequest(
                "Be kind.", (Message("user", "hi"),), [TOOL], (), "none", {"type": "object"}, {"seed": 1}
            )
        ]  # fmt: skip

    async def test_rests_on_the_sources_the_client_knows(self) -> None:
        events = await run(Script(says("30 days", sources=("returns.md",))))
        assert events[-1] == Outcome("answered", sources=("returns.md",))

    async def test_else_on_the_documents_it_names(self) -> None:
        documents = [Passage("returns.md", "", ""), Passage("returns.md", "", ""), Passage("shipping.md", "", "")]
        events = await run(Script(says("30 days (returns.md)")), documents=documents)
        assert events[-1] == Outcome("answered", sources=("returns.md",))

    async def test_reasoning_is_heard_and_never_said(self) -> None:
        heard: list[str] = []
        events = await run(Script([ReasoningDelta("hm"), *says("yes")]), on_reasoning=heard.append)
        assert (heard, text_of(events)) == (["hm"], "yes")

    async def test_reasoning_nobody_listens_to_is_dropped(self) -> None:
        assert text_of(await run(Script([ReasoningDelta("hm"), *says("yes")]))) == "yes"

    async def test_a_first_answer_that_is_empty_is_asked_for_again(self) -> None:
        client = Script(says(), says("Hello"))
        events = await run(client)
        assert text_of(events) == "Hello"
        assert len(client.requests) == 2

    async def test_two_empty_answers_end_politely(self) -> None:
        events = await run(Script(says("  "), says()))
        assert events[-1] == Outcome("failed", error_code="model_empty_answer")
        assert text_of(events).endswith(WORDING.stuck)

    async def test_one_that_hit_its_length_limit_says_so(self) -> None:
        events = await run(Script(says("Once upon", finish="length")))
        assert text_of(events) == f"Once upon\n\n{WORDING.too_long}"
        assert events[-1] == Outcome("answered")

    async def test_half_of_a_structured_answer_is_no_answer(self) -> None:
        events = await run(Script(says('{"a":', finish="length")), output_schema={"type": "object"})
        assert events[-1] == Outcome("failed", error_code="model_answer_too_long")

    async def test_one_that_was_filtered_ends_politely(self) -> None:
        events = await run(Script(says(finish="content_filter")))
        assert text_of(events) == WORDING.withheld
        assert events[-1] == Outcome("failed", error_code="model_content_filter")


class TestToolCalls:
    async def test_run_and_their_results_go_back_in_the_order_of_the_calls(self) -> None:
        client, tools = Script(wants(call("c1", provider_id="p1"), call("c2", '{"n":2}')), says("Done")), Tools()
        events = await run(client, tools)
        asked = Message("assistant", "", "agent", (call("c1", provider_id="p1"), call("c2", '{"n":2}')))
        assert tools.messages == [asked]
        assert client.requests[1].messages == (
            Message("user", "hi"),
            asked,
            Message("tool", '"result of c1"', "tool", tool_call_id="p1"),
            Message("tool", '"result of c2"', "tool", tool_call_id="c2"),
        )
        assert [type(event) for event in events] == [ModelCalled, Said, ModelCalled, Outcome]

    async def test_the_texts_of_two_steps_are_kept_apart(self) -> None:
        events = await run(Script(wants(call(), text="Let me look."), says("It ", "is sent.")))
        assert text_of(events) == "Let me look.\n\nIt is sent."

    async def test_opaque_parts_go_back_with_the_message(self) -> None:
        tools = Tools()
        await run(Script(wants(call(), opaque="signature"), says("a")), tools)
        assert tools.messages[0].opaque == "signature"

    async def test_a_forced_choice_holds_for_the_first_call_only(self) -> None:
        client = Script(wants(call()), says("a"))
        await run(client, tool_choice="required")
        assert [request.tool_choice for request in client.requests] == ["required", "auto"]

    async def test_malformed_arguments_are_the_callers_to_answer(self) -> None:
        tools = Tools()
        events = await run(Script(wants(call(arguments='{"a":')), says("a")), tools)
        assert tools.messages[0].tool_calls[0].arguments == '{"a":'
        assert events[-1] == Outcome("answered")

    @pytest.mark.parametrize("finish", ["length", "content_filter"])
    async def test_calls_of_an_answer_that_was_cut_off_are_not_run(self, finish: str) -> None:
        tools = Tools()
        events = await run(Script(wants(call(), text="Let me", finish=finish)), tools)
        assert tools.messages == []
        assert isinstance(events[-1], Outcome)
        assert events[-1].result == "failed"

    async def test_a_pause_goes_up_with_the_stream_closed(self) -> None:
        client = Script(wants(call()))
        with pytest.raises(TurnPaused):
            await run(client, Tools(TurnPaused()))
        assert client.closed == 1

    async def test_a_deadline_inside_a_tool_ends_politely(self) -> None:
        events = await run(Script(wants(call())), Tools(DeadlineExceeded("late")))
        assert events[1:] == [Said(WORDING.too_slow), Outcome("failed", error_code="deadline_exceeded")]


class TestLimits:
    async def test_the_same_call_three_times_is_stopped_before_it_runs(self) -> None:
        tools = Tools()
        events = await run(Script(*[wants(call(f"c{n}")) for n in range(3)]), tools)
        assert len(tools.messages) == 2
        assert events[-2:] == [Said(WORDING.stuck), Outcome("failed", error_code="agent_loop")]

    async def test_steps_run_out(self) -> None:
        endless = [wants(call(f"c{n}", f'{{"n":{n}}}')) for n in range(3)]
        events = await run(Script(*endless), limits=LoopLimits(max_steps=2))
        assert events[-1] == Outcome("failed", error_code="agent_step_limit")

    async def test_too_many_tools_at_once_are_not_run(self) -> None:
        tools = Tools()
        many = [call(f"c{n}", f'{{"n":{n}}}') for n in range(3)]
        events = await run(Script(wants(*many)), tools, limits=LoopLimits(max_tool_calls=2))
        assert tools.messages == []
        assert events[-1] == Outcome("failed", error_code="agent_tool_call_limit")


class TestResuming:
    TRANSCRIPT = (
        Message("user", "where is A1?"),
        Message("assistant", "Let me look.", "agent", (call("c1", provider_id="p1"),)),
        Message("tool", '"sent"', "tool", tool_call_id="p1"),
    )

    async def test_goes_on_where_the_transcript_ends(self) -> None:
        client = Script(says("It is sent."))
        events = await run(client, None, *self.TRANSCRIPT)
        assert client.requests[0].messages == self.TRANSCRIPT
        assert text_of(events) == "\n\nIt is sent."

    async def test_does_not_force_a_tool_again(self) -> None:
        client = Script(says("It is sent."))
        await run(client, None, *self.TRANSCRIPT, tool_choice="get_order")
        assert client.requests[0].tool_choice == "auto"

    async def test_earlier_text_of_other_turns_leaves_no_gap(self) -> None:
        events = await run(Script(says("Hi")), None, *self.TRANSCRIPT, Message("user", "thanks"))
        assert text_of(events) == "Hi"


class TestAModelThatFails:
    @pytest.mark.parametrize(
        "error", [ModelUnavailable("x"), ModelRateLimited("x"), ModelRefused("x"), ModelMalformed("x")]
    )
    async def test_ends_politely_with_its_code(self, error: Any) -> None:
        events = await run(Script([error]))
        assert isinstance(events[0], ModelCalled)
        assert (events[0].model, events[0].usage, events[0].finish_reason) == ("configured", Usage(), error.code)
        assert events[1:] == [Said(WORDING.unavailable), Outcome("failed", error_code=error.code)]

    async def test_in_the_middle_says_that_it_was_cut_off(self) -> None:
        events = await run(Script([TextDelta("Hel"), ModelMalformed("x", after_text=True)]))
        assert text_of(events) == f"Hel\n\n{WORDING.broken_off}"
        assert events[-1] == Outcome("failed", error_code="model_malformed")

    async def test_by_the_deadline_says_that_it_took_too_long(self) -> None:
        events = await run(Script([DeadlineExceeded("late")]))
        assert events[1:] == [Said(WORDING.too_slow), Outcome("failed", error_code="deadline_exceeded")]

    async def test_by_ending_without_an_answer_is_malformed(self) -> None:
        events = await run(Script([]))
        assert events[-1] == Outcome("failed", error_code="model_malformed")

    async def test_after_tools_ran_never_says_that_nothing_happened(self) -> None:
        events = await run(Script(wants(call(), text="One moment."), [ModelUnavailable("x")]))
        assert text_of(events) == f"One moment.\n\n{WORDING.unavailable}"
        assert "nothing was changed" not in text_of(events).lower()

    async def test_by_a_fault_of_ours_is_not_hidden(self) -> None:
        with pytest.raises(ZeroDivisionError):
            await run(Script([ZeroDivisionError()]))


class TestAnAnswerThatBeginsAnew:
    async def test_takes_back_what_this_call_has_said(self) -> None:
        events = await run(Script([TextDelta("Your "), TextDelta("parcel"), Restarted(), *says("It is here.")]))
        assert events[:4] == [Said("Your "), Said("parcel"), TakenBack(11), Said("It is here.")]

    async def test_keeps_what_was_said_before_the_tools_and_the_gap_after_it(self) -> None:
        anew = [TextDelta("There"), Restarted(), *says("Here.")]
        events = await run(Script(wants(call(), text="One moment."), anew))
        said = [event for event in events if isinstance(event, Said | TakenBack)]
        assert said == [Said("One moment."), Said("\n\nThere"), TakenBack(7), Said("\n\nHere.")]


class TestLettingGo:
    async def test_closing_the_answer_closes_the_model_at_once(self) -> None:
        client = Script([TextDelta("a"), 30.0])
        request = LoopRequest("", [Message("user", "hi")])
        stream = answer(request, client=client, call_tools=Tools(), deadline=Deadline.after(5))
        async with aclosing(stream):
            assert await anext(stream) == Said("a")
        assert client.closed == 1

    async def test_cancelling_goes_up_and_closes_the_model(self) -> None:
        client = Script([30.0])
        task = asyncio.create_task(run(client))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert client.closed == 1
