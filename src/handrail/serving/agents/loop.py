"""The agent loop: model, tools, model, until there is an answer. Every end is an `Outcome`, never a stack trace."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from handrail.core.answers import AnswerEvent, ModelCalled, Outcome, Said, TakenBack
from handrail.core.deadline import Deadline, DeadlineExceeded
from handrail.core.errors import HandrailError
from handrail.core.messages import Message, Passage, ToolCall, ToolResult
from handrail.core.models import (
    ModelAnswer,
    ModelClient,
    ModelError,
    ModelMalformed,
    ModelRequest,
    Restarted,
    TextDelta,
)
from handrail.core.tools import Tool
from handrail.core.usage import Usage
from handrail.serving.agents.policy import LoopLimits, LoopStopped, Progress, this_turn

CallTools = Callable[[Message, Sequence[ToolCall]], Awaitable[Sequence[ToolResult]]]


@dataclass(frozen=True, slots=True)
class Wording:
    """What the user reads when there is no answer.

    Each sentence must be true whatever happened before it: a tool may have changed something.
    """

    unavailable: str = (
        "I'm sorry, I can't answer right now: the language model behind me gave no answer. "
        "Please try again in a moment, or ask for a person."
    )
    broken_off: str = "I'm sorry, my answer was cut off here. Please ask again, or ask for a person."
    too_slow: str = "I'm sorry, this took longer than it may. Please try again, or ask for a person."
    stuck: str = "I'm sorry, I could not finish this. Please put it in other words, or ask for a person."
    withheld: str = "I'm sorry, I can't say more about this. Please ask for a person if you need help with it."
    too_long: str = "(This answer stops here because it reached its length limit.)"


@dataclass(frozen=True, slots=True)
class LoopRequest:
    """One turn for an agent. `messages` may end with tool results: then the turn is being resumed.

    `tool_choice` of `required` or a tool's name holds for the first model call only, else the loop would not end.
    `on_reasoning` hears the model's reasoning as it comes; it is never part of the answer.
    """

    instructions: str
    messages: Sequence[Message]
    tools: Sequence[Tool] = ()
    documents: Sequence[Passage] = ()
    tool_choice: str = "auto"
    output_schema: Mapping[str, Any] | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict[str, Any])
    wording: Wording = Wording()
    on_reasoning: Callable[[str], None] | None = None


class EmptyAnswer(HandrailError):
    """The model said nothing and asked for nothing, twice."""

    code = "model_empty_answer"


def answer(
    request: LoopRequest,
    *,
    client: ModelClient,
    call_tools: CallTools,
    deadline: Deadline,
    limits: LoopLimits = LoopLimits(),
) -> AsyncGenerator[AnswerEvent]:
    """Pieces of the answer as they come, a `ModelCalled` after every model call, and one `Outcome` at the end.

    The text of the final message is what was said after the last call of `call_tools`, stripped: a blank line is
    said between the texts of two model calls. Close the generator (`aclosing`) to let go of the provider at once.

    Args:
        call_tools: journals and runs the calls of one assistant message and returns a result for each, in any
            order. Tools that don't exist and arguments that can't be read come back from it as failed results.
            What it raises, a pause or a lost lease, goes up untouched; only `DeadlineExceeded` ends in an outcome.
    """
    return _Turn(request, client, deadline, limits).run(call_tools)


class _Turn:
    """The state of one run of the loop."""

    def __init__(self, request: LoopRequest, client: ModelClient, deadline: Deadline, limits: LoopLimits) -> None:
        self._request = request
        self._client = client
        self._deadline = deadline
        self._messages = list(request.messages)
        self._progress = Progress(request.messages, limits)
        self._has_said = any(message.content for message in this_turn(request.messages) if message.role == "assistant")
        self._needs_gap = self._has_said
        self._answer: ModelAnswer | None = None
        self._empty_answers = 0

    async def run(self, call_tools: CallTools) -> AsyncGenerator[AnswerEvent]:
        try:
            while True:
                self._progress.require_step()
                async with aclosing(self._call_model()) as events:
                    async for event in events:
                        yield event
                model_answer = self._take_answer()
                if _asks_for_tools(model_answer):
                    self._progress.require_calls(model_answer.tool_calls)
                    await self._call_tools(model_answer, call_tools)
                elif not self._is_to_be_repeated(model_answer):
                    end = self._finished(model_answer)
                    break
        except (LoopStopped, ModelError, DeadlineExceeded, EmptyAnswer) as error:
            end = self._failed(error)
        for event in end:
            yield event

    async def _call_model(self) -> AsyncGenerator[AnswerEvent]:
        started, before, said = self._deadline.now(), (self._has_said, self._needs_gap), 0
        on_reasoning = self._request.on_reasoning
        events = self._client.stream(self._model_request(), self._deadline)
        try:
            async for event in events:
                if isinstance(event, TextDelta):
                    piece = self._say(event.text)
                    said += len(piece.text)
                    yield piece
                elif isinstance(event, Restarted):
                    (self._has_said, self._needs_gap), taken_back, said = before, said, 0
                    yield TakenBack(taken_back)
                elif isinstance(event, ModelAnswer):
                    self._answer = event
                elif on_reasoning is not None:
                    on_reasoning(event.text)
        except (ModelError, DeadlineExceeded) as error:
            yield self._called(started, Usage(), error.code)
            raise
        finally:
            if isinstance(events, AsyncGenerator):
                await events.aclose()
        if self._answer is not None:
            yield self._called(started, self._answer.usage, self._answer.finish_reason)

    async def _call_tools(self, model_answer: ModelAnswer, call_tools: CallTools) -> None:
        calls = model_answer.tool_calls
        message = Message("assistant", model_answer.text, "agent", calls, opaque=model_answer.opaque)
        results = {result.tool_call_id: result for result in await call_tools(message, calls)}
        self._messages.append(message)
        for call in calls:
            content = results[call.id].told
            self._messages.append(Message("tool", content, "tool", tool_call_id=call.provider_id or call.id))
        self._needs_gap = self._has_said

    def _model_request(self) -> ModelRequest:
        request = self._request
        choice = request.tool_choice
        if choice not in ("auto", "none") and this_turn(self._messages):
            choice = "auto"
        return ModelRequest(
            instructions=request.instructions,
            messages=tuple(self._messages),
            tools=request.tools,
            documents=request.documents,
            tool_choice=choice,
            output_schema=request.output_schema,
            parameters=request.parameters,
        )

    def _take_answer(self) -> ModelAnswer:
        model_answer, self._answer = self._answer, None
        if model_answer is None:
            raise ModelMalformed(f"model {self._client.model!r} ended its stream without an answer")
        return model_answer

    def _is_to_be_repeated(self, model_answer: ModelAnswer) -> bool:
        """Models now and then say nothing at all; asked once more they mostly do."""
        if model_answer.text.strip() or model_answer.finish_reason in ("length", "content_filter"):
            return False
        self._empty_answers += 1
        if self._empty_answers > 1:
            raise EmptyAnswer(f"model {self._client.model!r} said nothing, twice")
        return True

    def _finished(self, model_answer: ModelAnswer) -> Iterator[AnswerEvent]:
        wording = self._request.wording
        if model_answer.finish_reason == "content_filter":
            yield self._say_apart(wording.withheld)
            yield Outcome("failed", error_code="model_content_filter")
        elif model_answer.finish_reason == "length":
            yield from self._cut_short(model_answer)
        else:
            yield Outcome("answered", sources=self._sources(model_answer))

    def _cut_short(self, model_answer: ModelAnswer) -> Iterator[AnswerEvent]:
        """Half a text is worth reading; half a tool call or half of structured output is worth nothing."""
        is_usable = bool(model_answer.text.strip()) and not model_answer.tool_calls
        if is_usable and self._request.output_schema is None:
            yield self._say_apart(self._request.wording.too_long)
            yield Outcome("answered", sources=self._sources(model_answer))
        else:
            yield self._say_apart(self._request.wording.stuck)
            yield Outcome("failed", error_code="model_answer_too_long")

    def _failed(self, error: HandrailError) -> Iterator[AnswerEvent]:
        yield self._say_apart(self._apology(error))
        yield Outcome("failed", error_code=error.code)

    def _apology(self, error: HandrailError) -> str:
        wording = self._request.wording
        if isinstance(error, DeadlineExceeded):
            return wording.too_slow
        if isinstance(error, ModelError):
            return wording.broken_off if error.after_text else wording.unavailable
        return wording.stuck

    def _say(self, text: str) -> Said:
        if self._needs_gap:
            text = "\n\n" + text
        self._needs_gap = False
        self._has_said = True
        return Said(text)

    def _say_apart(self, sentence: str) -> Said:
        self._needs_gap = self._has_said
        return self._say(sentence)

    def _called(self, started: float, usage: Usage, finish_reason: str) -> ModelCalled:
        model_answer, client = self._answer, self._client
        milliseconds = round((self._deadline.now() - started) * 1000)
        if model_answer is None:
            return ModelCalled(client.provider, client.model, usage, milliseconds, finish_reason)
        return ModelCalled(
            model_answer.provider,
            model_answer.model,
            usage,
            milliseconds,
            finish_reason,
            cost_micros=model_answer.cost_micros,
        )

    def _sources(self, model_answer: ModelAnswer) -> tuple[str, ...]:
        """What the client knows the text was taken from, else the passages that the text names."""
        if model_answer.sources:
            return model_answer.sources
        offered = dict.fromkeys(passage.source for passage in self._request.documents)
        return tuple(source for source in offered if source in model_answer.text)


def _asks_for_tools(model_answer: ModelAnswer) -> bool:
    """Calls of an answer that was cut off or filtered may be incomplete and are not run."""
    return bool(model_answer.tool_calls) and model_answer.finish_reason not in ("length", "content_filter")
