"""A model that says what it was told to: for tests of an agent project, and for demonstrations."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from handrail.core.deadline import Deadline, DeadlineExceeded
from handrail.core.ids import new_id
from handrail.core.json import dumps
from handrail.core.messages import ToolCall
from handrail.core.models import ModelAnswer, ModelEvent, ModelMalformed, ModelRequest, ReasoningDelta, TextDelta
from handrail.core.usage import Usage

# A scripted model may serve a demonstration for weeks.
KEPT_REQUESTS = 1_000


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer of the script.

    Attributes:
        calls: tools to ask for, as (name, arguments); a string of arguments is passed on as it is, malformed or not.
        finish_reason: `stop` or `tool_calls` when left out.
        error: raised in place of the answer.
        breaks_after: the stream breaks off after this many characters of `text`.
        delay_seconds: before the first piece; `gap_seconds` before each piece after it.
        piece: characters a delta; 0 sends the text in one.
    """

    text: str = ""
    calls: Sequence[tuple[str, Mapping[str, Any] | str]] = ()
    reasoning: str = ""
    finish_reason: str | None = None
    usage: Usage = field(default_factory=lambda: Usage(10, 5))
    error: Exception | None = None
    breaks_after: int | None = None
    delay_seconds: float = 0.0
    gap_seconds: float = 0.0
    piece: int = 0
    opaque: str | None = None


def calls(*wanted: tuple[str, Mapping[str, Any] | str], text: str = "") -> Reply:
    """A reply that asks for tools: `calls(("get_order", {"order_id": "A1001"}))`."""
    return Reply(text=text, calls=wanted)


Scripted = str | Reply | Exception
Script = Sequence[Scripted] | Callable[[ModelRequest], Scripted]


class ScriptExhausted(AssertionError):
    """The model was called more often than the script has replies."""


class ScriptedModel:
    """Gives the replies of its script one after another, or what a function makes of each request.

    `ScriptedModel(["Hello", calls(("get_order", {"order_id": "A1001"})), "It is on its way"])`.
    `requests` keeps what the model was asked, oldest first.
    """

    provider = "scripted"
    origin = "scripted"
    account: str | None = None

    def __init__(self, script: Script, *, model: str = "scripted", repeats: bool = False) -> None:
        self.model = model
        self.requests: list[ModelRequest] = []
        self._script = script
        self._repeats = repeats
        self._given = 0

    async def stream(self, request: ModelRequest, deadline: Deadline) -> AsyncGenerator[ModelEvent]:
        deadline.require()
        self.requests.append(request)
        del self.requests[:-KEPT_REQUESTS]
        reply = self._next(request)
        await _wait(reply.delay_seconds, deadline)
        if reply.error is not None:
            raise reply.error
        if reply.reasoning:
            yield ReasoningDelta(reply.reasoning)
        shown = reply.text if reply.breaks_after is None else reply.text[: reply.breaks_after]
        for index, piece in enumerate(_pieces(shown, reply.piece)):
            if index:
                await _wait(reply.gap_seconds, deadline)
            yield TextDelta(piece)
        if reply.breaks_after is not None:
            raise ModelMalformed("the scripted model broke off in the middle of its answer", after_text=bool(shown))
        yield self._answer(reply)

    async def close(self) -> None:
        """Holds nothing open."""

    def _next(self, request: ModelRequest) -> Reply:
        if callable(self._script):
            return _reply(self._script(request))
        if self._given >= len(self._script) and not (self._repeats and self._script):
            raise ScriptExhausted(f"the script has {len(self._script)} replies; call {self._given + 1} found none left")
        scripted = self._script[self._given % len(self._script)]
        self._given += 1
        return _reply(scripted)

    def _answer(self, reply: Reply) -> ModelAnswer:
        wanted = tuple(
            ToolCall(
                new_id("call"), name, arguments if isinstance(arguments, str) else dumps(arguments), f"call_{index}"
            )
            for index, (name, arguments) in enumerate(reply.calls)
        )
        finish = reply.finish_reason or ("tool_calls" if wanted else "stop")
        return ModelAnswer(reply.text, wanted, reply.usage, finish, self.model, self.provider, reply.opaque)


def _reply(scripted: Scripted) -> Reply:
    if isinstance(scripted, Reply):
        return scripted
    return Reply(text=scripted) if isinstance(scripted, str) else Reply(error=scripted)


def _pieces(text: str, size: int) -> list[str]:
    if not text:
        return []
    return [text] if size <= 0 else [text[at : at + size] for at in range(0, len(text), size)]


async def _wait(seconds: float, deadline: Deadline) -> None:
    """Sleeps as a slow provider would make us, and no longer than the turn may take."""
    if seconds <= 0:
        return
    await asyncio.sleep(deadline.within(seconds))
    if deadline.remaining() <= 0.0:
        raise DeadlineExceeded("the scripted model was slower than the turn's deadline")
