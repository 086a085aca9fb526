"""The API's picture of conversations and turns, the same live and replayed."""

from collections.abc import Mapping, Sequence
from typing import Any

from handrail.core.clock import iso
from handrail.core.usage import Used
from handrail.serving.conversations.records import Conversation, StoredMessage, Turn


def conversation_body(conversation: Conversation) -> dict[str, Any]:
    return {
        "id": conversation.id,
        "object": "conversation",
        "agent": conversation.agent,
        "release_id": conversation.release_id,
        "title": conversation.title,
        "created_at": iso(conversation.created_at),
    }


def usage_body(used: Used) -> dict[str, int | None]:
    """`cost_micros` is null when it is not known of some call; 0 when none was made, or those made are free."""
    usage = used.usage
    return {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cost_micros": used.cost_micros,
    }


def turn_body(
    turn: Turn,
    *,
    status: str,
    message_id: str | None,
    content: str,
    route: Mapping[str, Any] | None,
    usage: Used,
    overhead_micros: int | None,
    sources: tuple[str, ...] = (),
    error: tuple[str, str] | None = None,
    awaiting: str | None = None,
    escalation_id: str | None = None,
    approvals: Sequence[str] = (),
    ladder: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """`awaiting` is the kind of answer the conversation waits for now, if the turn asked for one."""
    body: dict[str, Any] = {
        "id": turn.id,
        "object": "turn",
        "conversation_id": turn.conversation_id,
        "status": status,
        "message": {"id": message_id, "content": content} if message_id else None,
        "route": route,
        "usage": usage_body(usage),
        "overhead_ms": None if overhead_micros is None else round(overhead_micros / 1000, 3),
        "release_id": turn.release_id,
    }
    if turn.moved_from:
        body["moved_from"] = turn.moved_from
    if sources:
        body["sources"] = list(sources)
    if error:
        body["error"] = {"code": error[0], "message": error[1]}
    if awaiting:
        body["awaiting"] = awaiting
    if approvals:
        body["approvals"] = list(approvals)
    if ladder:
        body["ladder"] = list(ladder)
    if escalation_id:
        body["escalation_id"] = escalation_id
    return body


def stored_turn_body(turn: Turn, answer: StoredMessage | None) -> dict[str, Any]:
    """The body of a turn as the transcript has it."""
    return turn_body(
        turn,
        status=turn.status.value,
        message_id=answer.id if answer else None,
        content=answer.content if answer else "",
        route=turn.route,
        usage=Used(turn.usage, turn.cost_micros),
        overhead_micros=turn.overhead_micros,
        sources=answer.sources if answer else (),
        error=(turn.error_code, turn.error_message or "") if turn.error_code else None,
        awaiting=turn.awaiting,
        escalation_id=turn.escalation_id,
        approvals=turn.parked["approvals"] if turn.parked else (),
        ladder=turn.ladder,
    )


def message_body(message: StoredMessage) -> dict[str, Any]:
    return {
        "id": message.id,
        "turn_id": message.turn_id,
        "role": message.role,
        "content": message.content,
        "tool_calls": [{"id": call.id, "name": call.name, "arguments": call.arguments} for call in message.tool_calls],
        "sources": list(message.sources),
        "created_at": iso(message.created_at),
    }
