"""The lasting events of an ended turn, rebuilt from its transcript.

Their ids go on from the last live one (`<epoch>.<event_seq + n>`), so a client that drops during a replay continues
it, and one that dropped during the live stream gets the whole text once more by `message.restarted`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from handrail.core import events, json
from handrail.core.events import Event
from handrail.serving.conversations.records import StoredMessage, StoredToolCall, Turn, TurnStatus

_ENDINGS = {
    TurnStatus.COMPLETED: events.COMPLETED,
    TurnStatus.FAILED: events.FAILED,
    TurnStatus.CANCELLED: events.CANCELLED,
    TurnStatus.REQUIRES_ACTION: events.REQUIRES_ACTION,
}


def replay(
    turn: Turn,
    messages: Sequence[StoredMessage],
    tool_calls: Sequence[StoredToolCall],
    result: Mapping[str, Any],
    after: tuple[int, int] | None,
    shown: Callable[[str], Any] | None = None,
) -> Iterator[Event]:
    """Events for a client whose last one was `after` = (epoch, seq); `None` for one that saw nothing.

    `shown` makes of a call's arguments what its user is shown.
    """
    rebuilt = list(_lasting(turn, messages, tool_calls, result, shown or _object, restarted=after is not None))
    seen = after[1] - turn.event_seq if after and after[0] == turn.epoch else 0
    for number, (name, data) in enumerate(rebuilt, start=1):
        if number > seen:
            yield Event(turn.epoch, turn.event_seq + number, name, data)


def _lasting(
    turn: Turn,
    messages: Sequence[StoredMessage],
    tool_calls: Sequence[StoredToolCall],
    result: Mapping[str, Any],
    shown: Callable[[str], Any],
    *,
    restarted: bool,
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    yield events.STARTED, {"turn_id": turn.id, "conversation_id": turn.conversation_id, "release_id": turn.release_id}
    if turn.route:
        yield events.ROUTE_DECIDED, turn.route
    for call in tool_calls:
        yield events.TOOL_STARTED, {"id": call.id, "name": call.name, "arguments": shown(call.arguments)}
        yield events.TOOL_COMPLETED, events.tool_completed(call.id, call.name, call.status, call.ladder)
    answer = next((message for message in reversed(messages) if message.role == "assistant"), None)
    if answer is not None:
        yield events.MESSAGE_STARTED, {"id": answer.id}
        name = events.MESSAGE_RESTARTED if restarted else events.MESSAGE_DELTA
        yield name, {"text": answer.content}
        yield events.MESSAGE_COMPLETED, {"id": answer.id, "content": answer.content, "sources": list(answer.sources)}
    yield _ENDINGS[turn.status], result


def _object(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
