"""What a chat completions server sends, read piece by piece into one `ModelAnswer`. No I/O."""

from collections.abc import Mapping
from typing import Any, NoReturn

import orjson

from handrail.core.ids import new_id
from handrail.core.messages import ToolCall
from handrail.core.models import ModelAnswer
from handrail.core.usage import Usage
from handrail.serving.models.failures import Failures
from handrail.serving.models.server_sent_events import EventDecoder, EventTooLarge

MAX_ANSWER_CHARACTERS = 1_000_000
MAX_EVENT_BYTES = 4_000_000
MAX_TOOL_CALLS = 32
MAX_NAME_CHARACTERS = 200

_FINISH_REASONS = {
    "length": "length",
    "max_tokens": "length",
    "content_filter": "content_filter",
    "safety": "content_filter",
}
# Ends that some providers write where an answer was broken off.
_BROKEN_OFF = frozenset({"error", "insufficient_system_resource", "abort", "aborted", "cancelled"})


class AnswerReader:
    """Takes network reads of a stream, or of a plain JSON body from a server that does not stream.

    After each `feed`, `take_text` and `take_reasoning` give what came with it. `done` is true after `[DONE]`.
    """

    def __init__(self, failures: Failures, model: str, provider: str, *, keep_reasoning: bool = False) -> None:
        self.done = False
        self.after_text = False
        self._failures = failures
        self._model = model
        self._provider = provider
        self._keep_reasoning = keep_reasoning
        self._reported_model: str | None = None
        self._decoder = EventDecoder(MAX_EVENT_BYTES)
        self._body: bytearray | None = None
        self._began = False
        self._text: list[str] = []
        self._fresh_text: list[str] = []
        self._reasoning: list[str] = []
        self._fresh_reasoning: list[str] = []
        self._characters = 0
        self._calls = _ToolCalls()
        self._usage: Mapping[str, Any] | None = None
        self._finish: str | None = None

    @property
    def is_complete(self) -> bool:
        """The model has said that it is finished; what breaks after this is no loss."""
        return self.done or self._finish is not None

    def feed(self, data: bytes) -> None:
        """Raises `ModelError` for what is not an answer."""
        if not self._began:
            self._begin(data)
        if self._body is not None:
            self._body += data
            if len(self._body) > MAX_EVENT_BYTES:
                self._malformed(f"sent a body of more than {MAX_EVENT_BYTES} bytes")
            return
        try:
            self._take(self._decoder.feed(data))
        except EventTooLarge as error:
            self._malformed(f"sent something that is no stream of answers: {error}")

    def close(self) -> None:
        """The server has ended its answer."""
        self._take([bytes(self._body)] if self._body is not None else self._decoder.close())

    def take_text(self) -> str:
        if not self._fresh_text:
            return ""
        text = "".join(self._fresh_text)
        self._text.append(text)
        self._fresh_text.clear()
        self.after_text = True
        return text

    def take_reasoning(self) -> str:
        if not self._fresh_reasoning:
            return ""
        text = "".join(self._fresh_reasoning)
        self._fresh_reasoning.clear()
        if self._keep_reasoning:
            self._reasoning.append(text)
        return text

    def answer(self) -> ModelAnswer:
        """The whole answer; raises `ModelMalformed` when it never came to an end or can't be read."""
        if not self.is_complete:
            self._malformed("broke off before its answer was finished")
        if self._finish in _BROKEN_OFF:
            self._malformed(f"gave up in the middle of its answer ({self._finish})")
        calls = self._calls.build(self._malformed)
        return ModelAnswer(
            text="".join(self._text),
            tool_calls=calls,
            usage=_usage(self._usage),
            finish_reason=_FINISH_REASONS.get(self._finish or "", "tool_calls" if calls else "stop"),
            model=self._reported_model or self._model,
            provider=self._provider,
            opaque="".join(self._reasoning) or None,
        )

    def _begin(self, data: bytes) -> None:
        # The content type is no help: servers that stream say JSON, and the other way round.
        start = data.lstrip()
        self._began = bool(start)
        if start.startswith(b"{"):
            self._body = bytearray()

    def _take(self, payloads: list[bytes]) -> None:
        for payload in payloads:
            if payload == b"[DONE]":
                self.done = True
                return
            try:
                self._chunk(orjson.loads(payload))
            except (ValueError, TypeError, AttributeError, LookupError, RecursionError):
                # One guard around the whole reading is cheaper than a schema for every token.
                self._malformed(f"sent what is no part of an answer: {payload[:80].decode(errors='replace')!r}")

    def _chunk(self, chunk: Mapping[str, Any]) -> None:
        if self._reported_model is None and isinstance(model := chunk.get("model"), str) and model:
            self._reported_model = model[:MAX_NAME_CHARACTERS]
        if usage := chunk.get("usage"):
            self._usage = usage
        if choices := chunk.get("choices"):
            choice = choices[0]
            if delta := choice.get("delta") or choice.get("message"):
                self._delta(delta)
            if finish := choice.get("finish_reason"):
                self._finish = str(finish).lower()
        if error := chunk.get("error") or (chunk.get("object") == "error" and chunk):
            raise self._failures.of_event(error, self.after_text)

    def _delta(self, delta: Mapping[str, Any]) -> None:
        if text := delta.get("content") or delta.get("refusal"):
            self._add(self._fresh_text, text)
        if reasoning := delta.get("reasoning_content") or delta.get("reasoning"):
            self._add(self._fresh_reasoning, reasoning)
        if calls := delta.get("tool_calls"):
            for fragment in calls:
                self._count(self._calls.add(fragment))
            if len(self._calls) > MAX_TOOL_CALLS:
                self._malformed(f"asked for more than {MAX_TOOL_CALLS} tools at once")

    def _add(self, pieces: list[str], content: str | list[Mapping[str, Any]]) -> None:
        text = content if isinstance(content, str) else "".join(_text_parts(content))
        if text:
            self._count(len(text))
            pieces.append(text)

    def _count(self, characters: int) -> None:
        self._characters += characters
        if self._characters > MAX_ANSWER_CHARACTERS:
            self._malformed(f"sent an answer of more than {MAX_ANSWER_CHARACTERS} characters")

    def _malformed(self, what: str) -> NoReturn:
        raise self._failures.malformed(what, self.after_text)


class _ToolCalls:
    """Tool calls put together from fragments; providers differ in whether they send index, id and pieces at all."""

    __slots__ = ("_calls",)

    def __init__(self) -> None:
        self._calls: list[_Call] = []

    def __len__(self) -> int:
        return len(self._calls)

    def add(self, fragment: Mapping[str, Any]) -> int:
        """Merge one fragment; returns how many characters it brought."""
        function: Mapping[str, Any] = fragment.get("function") or {}
        name: str = function.get("name") or ""
        arguments: Any = function.get("arguments") or ""
        if not isinstance(arguments, str):
            arguments = orjson.dumps(arguments).decode()
        call = self._call_for(fragment.get("index"), fragment.get("id") or None, name)
        if name != call.name:
            # Some repeat the whole name with every fragment, some cut it in pieces.
            call.name += name
        call.arguments.append(arguments)
        return len(arguments) + len(name)

    def build(self, malformed: Any) -> tuple[ToolCall, ...]:
        if any(not call.name for call in self._calls):
            malformed("asked for a tool without naming it")
        ids = [call.id for call in self._calls]
        return tuple(
            ToolCall(
                id=new_id("call"),
                name=call.name,
                arguments="".join(call.arguments).strip() or "{}",
                # An id given to two calls can't say which result belongs to which; ours is used then.
                provider_id=call.id if call.id and ids.count(call.id) == 1 else None,
            )
            for call in self._calls
        )

    def _call_for(self, index: int | None, id: str | None, name: str) -> "_Call":
        calls = self._calls
        if index is None:
            known = next((call for call in calls if id is not None and call.id == id), None)
            if known is None and calls and id is None and not name:
                known = calls[-1]
        else:
            known = next((call for call in reversed(calls) if call.index == index), None)
            if known is not None and id and name and known.id and known.id != id:
                # A provider that gives every parallel call the index 0.
                known = None
        if known is None:
            known = _Call(index)
            calls.append(known)
        known.id = known.id or (str(id) if id else None)
        return known


class _Call:
    __slots__ = ("arguments", "id", "index", "name")

    def __init__(self, index: int | None) -> None:
        self.index = index
        self.id: str | None = None
        self.name = ""
        self.arguments: list[str] = []


def _text_parts(parts: list[Mapping[str, Any]]) -> list[str]:
    return [part["text"] for part in parts if part.get("type") == "text"]


def _usage(usage: Mapping[str, Any] | None) -> Usage:
    if not isinstance(usage, Mapping):
        return Usage()
    details = usage.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, Mapping) else usage.get("prompt_cache_hit_tokens")
    return Usage(_count_of(usage.get("prompt_tokens")), _count_of(usage.get("completion_tokens")), _count_of(cached))


def _count_of(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
