"""Identifiers between a turn and its model: handles on the way out, values on the way back where they belong.

Everything else in a turn, its transcript included, has the values. What the model may have read of them is stored in
the batches that the turn writes anyway.
"""

from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from dataclasses import replace
from operator import is_
from typing import Any, cast

from handrail.core import json
from handrail.core.deadline import Deadline
from handrail.core.messages import Message, ToolCall
from handrail.core.models import ModelAnswer, ModelClient, ModelEvent, ModelRequest, Restarted, TextDelta
from handrail.db import Batch
from handrail.flows.guardrails import protection
from handrail.flows.services import ActiveTurn, Revealed, Services
from handrail.flows.wording import ABOUT_HANDLES
from handrail.protection.audit import AuditEntry
from handrail.protection.privacy import Revealing, Tokens, handles_in, token_kinds, unrevealed
from handrail.serving.tools import InvalidArguments, decode


async def tokens_of(services: Services, active: ActiveTurn) -> Tokens:
    """This turn's tokens: of the kinds that its release or the stable one hides from models."""
    if active.tokens is None:
        kinds = token_kinds(each.policies.privacy for each in await protection(services, active))
        turn = active.turn
        active.tokens = services.privacy.tokens(turn.tenant_id, turn.conversation_id, kinds)
    return active.tokens


async def _hidden(services: Services, active: ActiveTurn, tokens: Tokens, request: ModelRequest) -> ModelRequest:
    """The request as the model may read it. The instructions are the operator's and stay as they are."""
    if not tokens.kinds:
        return request
    written = [handle for each in request.messages for call in each.tool_calls for handle in handles_in(call.arguments)]
    await _learn(services, active, tokens, written)
    messages = list(_hidden_messages(tokens, request.messages))
    documents = [replace(each, text=tokens.hide(each.text)) for each in request.documents]
    if not tokens.has_any:
        return request
    instructions = f"{request.instructions}\n\n{ABOUT_HANDLES}"
    return replace(request, instructions=instructions, messages=messages, documents=documents)


def _hidden_messages(tokens: Tokens, messages: Sequence[Message]) -> Iterator[Message]:
    question: str | None = None
    for message in messages:
        content = tokens.hide(message.content, question if message.role == "user" else None)
        calls = message.tool_calls and tuple(_hidden_call(tokens, each) for each in message.tool_calls)
        if message.role == "assistant":
            question = message.content
        is_plain = content is message.content and all(map(is_, calls, message.tool_calls))
        yield message if is_plain else replace(message, content=content, tool_calls=calls)


def _hidden_call(tokens: Tokens, call: ToolCall) -> ToolCall:
    """The agent's own words, so a handle in them is what it seems to be."""
    arguments = tokens.hide(call.arguments, is_own=True)
    return call if arguments is call.arguments else replace(call, arguments=arguments)


class VeiledModel:
    """A model that reads handles where identifiers stand, as if it read and wrote the identifiers themselves."""

    def __init__(self, services: Services, active: ActiveTurn, inner: ModelClient) -> None:
        self.provider = inner.provider
        self.model = inner.model
        self.origin = inner.origin
        self.account = inner.account
        self._services = services
        self._active = active
        self._inner = inner

    async def stream(self, request: ModelRequest, deadline: Deadline) -> AsyncGenerator[ModelEvent]:
        """As every model's; what may be a handle that has begun is held back until it is known to be none."""
        tokens = await tokens_of(self._services, self._active)
        events = self._inner.stream(await _hidden(self._services, self._active, tokens, request), deadline)
        text = Revealing(tokens)
        try:
            async for event in events:
                if isinstance(event, TextDelta):
                    if shown := text.feed(event.text):
                        yield event if shown == event.text else TextDelta(shown)
                elif isinstance(event, ModelAnswer):
                    if rest := text.close():
                        yield TextDelta(rest)
                    yield self._answer(tokens, event)
                else:
                    text = Revealing(tokens) if isinstance(event, Restarted) else text
                    yield event
        finally:
            if isinstance(events, AsyncGenerator):
                await cast(AsyncGenerator[ModelEvent], events).aclose()

    async def close(self) -> None:
        """The inner model belongs to somebody else."""

    def _answer(self, tokens: Tokens, answer: ModelAnswer) -> ModelAnswer:
        if "<" not in answer.text and not answer.tool_calls:
            return answer
        calls = tuple(_revealed(self._active, tokens, each) for each in answer.tool_calls)
        return replace(answer, text=tokens.reveal(answer.text), tool_calls=calls)


def _revealed(active: ActiveTurn, tokens: Tokens, call: ToolCall) -> ToolCall:
    """The call with values in the parameters that its tool declares personal, and in no other."""
    tool = active.release.tools.get(call.name)
    given = _decoded(call) if tool is not None and tool.personal and _may_hold_handle(call) else None
    if tool is None or given is None:
        return call
    arguments = {name: tokens.reveal_all(value) if name in tool.personal else value for name, value in given.items()}
    changed = tuple(name for name, value in given.items() if arguments[name] != value)
    if not changed:
        return call
    kinds = {each.kind for name in changed for each in tokens.find(unrevealed(given[name]))}
    active.revealed.append(Revealed(call.id, call.name, changed, tuple(sorted(kinds))))
    return replace(call, arguments=json.dumps(arguments))


def keep(services: Services, active: ActiveTurn, batch: Batch) -> None:
    """What became a token, and which of them a tool is given as values, with whatever the turn stores now."""
    turn = active.turn
    fresh = active.tokens.take_fresh() if active.tokens is not None else ()
    if fresh:
        services.privacy.vault.keep(batch, turn.tenant_id, turn.conversation_id, fresh, services.clock.micros())
    for each in active.revealed:
        services.audit.record(batch, _audited(active, each))
    active.revealed.clear()


def _audited(active: ActiveTurn, revealed: Revealed) -> AuditEntry:
    turn = active.turn
    return AuditEntry(
        turn.tenant_id,
        "personal.revealed",
        "done",
        f"tool_call:{revealed.tool_call_id}",
        active.principal,
        subject=active.conversation.subject,
        conversation_id=turn.conversation_id,
        release_id=turn.release_id,
        details=(
            ("tool", revealed.tool),
            ("parameters", " ".join(revealed.parameters)),
            ("kinds", " ".join(revealed.kinds)),
        ),
    )


async def why_no_token(services: Services, active: ActiveTurn, call: ToolCall) -> str | None:
    """Why something in a model's call is no token of its conversation, if anything looks like one and is none."""
    if not _may_hold_handle(call):
        return None
    tokens, given = await tokens_of(services, active), _decoded(call)
    if not tokens.kinds or given is None:
        return None
    for name, value in given.items():
        handles = unrevealed(value)
        await _learn(services, active, tokens, handles)
        for handle in handles:
            if not tokens.knows(handle):
                return (
                    f"{handle!r} in {name!r} was not given to you; use a handle exactly as it stands, or ask the user"
                )
    return None


def as_said(active: ActiveTurn, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """A call's arguments as the user would know them, to be traced to what they said."""
    return arguments if active.tokens is None else active.tokens.reveal_all(arguments)


async def _learn(services: Services, active: ActiveTurn, tokens: Tokens, handles: Sequence[str]) -> None:
    """Handles whose values no longer stand in what the model reads."""
    unknown = [each for each in handles if not tokens.knows(each)]
    if unknown:
        turn = active.turn
        tokens.learn(await services.privacy.vault.find(turn.tenant_id, turn.conversation_id, unknown))


def _may_hold_handle(call: ToolCall) -> bool:
    """A quick look; JSON may write any character as an escape."""
    return "<" in call.arguments or "\\" in call.arguments


def _decoded(call: ToolCall) -> Mapping[str, Any] | None:
    try:
        return decode(call.arguments)
    except InvalidArguments:
        return None
