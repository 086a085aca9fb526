"""Stored messages and tool calls as the lines of a page. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from handrail.core import json
from handrail.serving.conversations import StoredMessage, StoredToolCall

MOST_ARGUMENT_CHARACTERS = 120


@dataclass(frozen=True, slots=True)
class ToolLine:
    id: str = ""
    name: str = ""
    arguments: str = ""
    status: str = "running"

    @property
    def status_word(self) -> str:
        return "outcome not known" if self.status in ("intent", "unknown") else self.status


@dataclass(frozen=True, slots=True)
class QuestionLine:
    """What an approver wants to know of the user."""

    id: str = ""
    question: str = ""
    answer: str | None = None


@dataclass(frozen=True, slots=True)
class TurnLine:
    """`is_open`: the answer is not stored yet; the script goes on with it. `waits_until`: when its approval ends."""

    id: str = ""
    said: str = ""
    answer: str = ""
    sources: tuple[str, ...] = ()
    tools: tuple[ToolLine, ...] = ()
    is_open: bool = False
    waits_until: str = ""
    questions: tuple[QuestionLine, ...] = ()
    thumb: int | None = None

    @property
    def status(self) -> str:
        if self.is_open:
            return "running"
        return "requires_action" if self.waits_until else "completed"


def transcript(messages: Sequence[StoredMessage], calls: Sequence[StoredToolCall]) -> list[TurnLine]:
    """One line a turn, in order. What a client claims was said before is not shown: it was not said here."""
    own = [each for each in messages if each.provenance != "client"]
    return [_turn(turn_id, own, calls) for turn_id in dict.fromkeys(each.turn_id for each in own)]


def _turn(turn_id: str, messages: Sequence[StoredMessage], calls: Sequence[StoredToolCall]) -> TurnLine:
    mine = [each for each in messages if each.turn_id == turn_id]
    said = next((each.content for each in mine if each.role == "user"), "")
    # Words between tool calls are stored with the round they belong to and once more in the answer.
    answer = next((each for each in reversed(mine) if each.role == "assistant" and not each.tool_calls), None)
    return TurnLine(
        turn_id,
        said,
        answer.content if answer else "",
        _unnamed(answer) if answer else (),
        tuple(
            ToolLine(each.id, each.name, short_arguments(each.arguments), each.status)
            for each in calls
            if each.turn_id == turn_id
        ),
        is_open=answer is None,
    )


def short_arguments(arguments: str) -> str:
    """`{"order_id": "A1001"}` as `order_id: A1001`, cut where it gets long."""
    try:
        value = json.loads(arguments)
    except ValueError:
        value = arguments
    parts = [f"{name}: {_plain(each)}" for name, each in value.items()] if isinstance(value, dict) else [_plain(value)]
    text = ", ".join(parts)
    return text if len(text) <= MOST_ARGUMENT_CHARACTERS else f"{text[: MOST_ARGUMENT_CHARACTERS - 1]}…"


def source_label(source: str) -> str:
    """`knowledge/returns.md#Return window` as `Return window, returns.md`."""
    file, _, heading = source.partition("#")
    name = file.rpartition("/")[2] or file
    return f"{heading}, {name}" if heading else name


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _unnamed(answer: StoredMessage) -> tuple[str, ...]:
    """The sources that the answer does not name itself."""
    return tuple(source for source in answer.sources if source.partition("#")[0] not in answer.content)
