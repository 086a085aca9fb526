import pytest

from handrail.core.messages import Message, ToolCall
from handrail.serving.agents import GoingInCircles, LoopLimits, StepLimit, ToolCallLimit
from handrail.serving.agents.policy import Progress


def call(arguments: str = "{}", name: str = "f") -> ToolCall:
    return ToolCall("call_1", name, arguments)


def asking(*calls: ToolCall) -> Message:
    return Message("assistant", "", "agent", calls)


class TestSteps:
    def test_stop_at_the_limit(self) -> None:
        progress = Progress([], LoopLimits(max_steps=2))
        progress.require_step()
        progress.require_step()
        with pytest.raises(StepLimit, match="after 2 model calls"):
            progress.require_step()

    def test_of_the_transcript_count_for_a_resumed_turn(self) -> None:
        transcript = [Message("user", "hi"), asking(call()), Message("tool", "{}", "tool", tool_call_id="x")]
        with pytest.raises(StepLimit):
            Progress(transcript, LoopLimits(max_steps=1)).require_step()

    def test_of_earlier_turns_do_not_count(self) -> None:
        transcript = [Message("user", "a"), asking(call()), Message("user", "b")]
        Progress(transcript, LoopLimits(max_steps=1)).require_step()


class TestCalls:
    def test_up_to_the_limit_may_run(self) -> None:
        progress = Progress([], LoopLimits(max_tool_calls=2))
        progress.require_calls([call('{"n":1}'), call('{"n":2}')])
        with pytest.raises(ToolCallLimit, match="more than 2"):
            progress.require_calls([call('{"n":3}')])

    def test_the_same_call_for_the_third_time_is_going_in_circles(self) -> None:
        progress = Progress([], LoopLimits())
        progress.require_calls([call()])
        progress.require_calls([call()])
        with pytest.raises(GoingInCircles, match="'f' 3 times"):
            progress.require_calls([call()])

    def test_the_order_and_spacing_of_arguments_make_no_difference(self) -> None:
        progress = Progress([], LoopLimits(max_same_call=2))
        progress.require_calls([call('{"a":1,"b":2}')])
        with pytest.raises(GoingInCircles):
            progress.require_calls([call('{"b": 2, "a": 1}')])

    def test_other_arguments_or_another_tool_are_another_call(self) -> None:
        progress = Progress([], LoopLimits(max_same_call=2))
        progress.require_calls([call('{"a":1}'), call('{"a":2}'), call('{"a":1}', "g")])

    def test_malformed_arguments_are_compared_as_written(self) -> None:
        progress = Progress([], LoopLimits(max_same_call=2))
        progress.require_calls([call("{"), call("{{")])
        with pytest.raises(GoingInCircles):
            progress.require_calls([call("{")])

    def test_a_resumed_turn_goes_on_counting(self) -> None:
        transcript = [Message("user", "hi"), asking(call()), asking(call())]
        with pytest.raises(GoingInCircles):
            Progress(transcript, LoopLimits()).require_calls([call()])
