"""How much of a conversation the model gets to see. Pure."""

from collections.abc import Sequence

from handrail.core.messages import Message


def fit(messages: Sequence[Message], max_messages: int, max_characters: int) -> list[Message]:
    """The newest messages that fit, whole, beginning with one of the user.

    An assistant message stays together with the results of the tools it called. The newest user message and what
    came after it are kept whatever they measure: a turn can't go on without them. When something is left out, a
    first message, not counted, says how much.
    """
    groups = _groups(messages)
    first = _newest_user_group(groups)
    count = sum(map(len, groups[first:]))
    characters = sum(map(_characters, groups[first:]))
    kept = first
    while first > 0:
        first -= 1
        count += len(groups[first])
        characters += _characters(groups[first])
        if count > max_messages or characters > max_characters:
            break
        if groups[first][0].role == "user":
            kept = first
    fitting = [message for group in groups[kept:] for message in group]
    left_out = len(messages) - len(fitting)
    return [_left_out(left_out), *fitting] if left_out else fitting


def _groups(messages: Sequence[Message]) -> list[list[Message]]:
    groups: list[list[Message]] = []
    for message in messages:
        if message.role == "tool" and groups:
            groups[-1].append(message)
        else:
            groups.append([message])
    return groups


def _newest_user_group(groups: Sequence[Sequence[Message]]) -> int:
    return next((at for at in range(len(groups) - 1, -1, -1) if groups[at][0].role == "user"), 0)


def _characters(group: Sequence[Message]) -> int:
    texts = sum(len(message.content) for message in group)
    return texts + sum(len(call.arguments) for message in group for call in message.tool_calls)


def _left_out(count: int) -> Message:
    what = "1 earlier message is" if count == 1 else f"{count} earlier messages are"
    return Message("user", f"({what} left out here.)", "memory")
