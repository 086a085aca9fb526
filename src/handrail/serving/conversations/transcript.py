"""From stored rows to the messages a model reads."""

from collections.abc import Iterable, Sequence

from handrail.core.messages import Message, as_told
from handrail.serving.conversations.records import StoredMessage, StoredToolCall

UNFINISHED = '{"error":{"code":"unknown","message":"this call has no recorded result"}}'


def as_messages(messages: Sequence[StoredMessage], tool_calls: Iterable[StoredToolCall] = ()) -> list[Message]:
    """The transcript in order; each assistant message with tool calls is followed by their results.

    A call without a result gets one that says so, because providers refuse a call that was never answered. What was
    said between two rounds of tools stands in the turn's last message too, so it is left out here once that is there.
    What a guardrail withheld is left out with the word that answered it.
    """
    withheld = {stored.turn_id for stored in messages if stored.provenance == "withheld"}
    messages = [each for each in messages if each.turn_id not in withheld or each.provenance == "client"]
    results = {call.id: call for call in tool_calls}
    # A turn that waited for people has said so in a message of its own; its last one holds all that counts.
    last = {stored.turn_id: stored.id for stored in messages if stored.role == "assistant" and not stored.tool_calls}
    out: list[Message] = []
    for stored in messages:
        if stored.role == "assistant" and not stored.tool_calls and last[stored.turn_id] != stored.id:
            continue
        content = "" if stored.tool_calls and stored.turn_id in last else stored.content
        out.append(Message(stored.role, content, stored.provenance, stored.tool_calls))
        for call in stored.tool_calls:
            done = results.get(call.id)
            content = UNFINISHED
            if done and done.result:
                content = as_told(done.result, done.ladder, is_suspicious=bool(done.tripped))
            out.append(Message("tool", content, "tool", tool_call_id=call.provider_id or call.id))
    return out
