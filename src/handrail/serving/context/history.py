"""How much of a conversation the model gets to see. Pure."""

from collections.abc import Sequence

from handrail.core.messages import Message


def fit(messages: Sequence[Message], max_messages: int, max_characters: int) -> list[Message]:
    """The newest messages that fit, whole, beginning with one of the user.

    A cut is made before a user message only, so results stay with the calls they answer. The newest user message
    and what came after it are kept whatever they measure: a turn can't go on without them. When something is left
    out, a first message, not counted, says how much.
    """
    start: int | None = None
    characters = 0
    for index in range(len(messages) - 1, -1, -1):
        characters += _characters(messages[index])
        fits = len(messages) - index <= max_messages and characters <= max_characters
        if not fits and start is not None:
            break
        if messages[index].role == "user":
            start = index
    if not start:
        return list(messages)
    return [_left_out(start), *messages[start:]]


def _characters(message: Message) -> int:
    return len(message.content) + sum(len(call.arguments) for call in message.tool_calls)


def _left_out(count: int) -> Message:
    what = "1 earlier message is" if count == 1 else f"{count} earlier messages are"
    return Message("user", f"({what} left out here.)", "memory")
