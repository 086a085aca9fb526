"""How a turn begins: stored once (commit a), running if nothing else runs, waiting if something does."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace

from handrail.core import events
from handrail.core.deadline import Deadline
from handrail.core.errors import UsageError
from handrail.core.events import Event
from handrail.core.ids import new_id
from handrail.core.messages import Message
from handrail.core.principal import Principal
from handrail.db import Conflict
from handrail.flows.releases import LoadedRelease
from handrail.flows.services import ActiveTurn, Services
from handrail.serving.conversations import (
    Conversation,
    ConversationBusy,
    IdempotencyScope,
    Turn,
    TurnStatus,
    TurnStream,
    next_step,
    replay,
    stored_turn_body,
)
from handrail.serving.resilience import Waits

ATTEMPTS = 8
POLL_SECONDS = 0.25


class TurnOver(UsageError):
    """The turn can't be stopped: it is no longer running or waiting."""

    code = "turn_over"


Run = Callable[[Services, ActiveTurn], None]


async def begin(
    services: Services,
    principal: Principal,
    conversation: Conversation,
    release: LoadedRelease,
    text: str,
    idempotency: IdempotencyScope | None,
    earlier: Sequence[Message],
) -> ActiveTurn | TurnStream:
    """Store the message as the next turn of its conversation; the other's stream when the same key was faster.

    Optimistic: a turn is stored as running, and only when the database refuses does anybody look why.
    """
    status = TurnStatus.RUNNING
    for _ in range(ATTEMPTS):
        at = services.clock.micros()
        turn = Turn(
            id=new_id("turn"),
            tenant_id=conversation.tenant_id,
            conversation_id=conversation.id,
            seq=conversation.turn_count + 1,
            status=status,
            agent=conversation.agent,
            release_id=conversation.release_id,
            epoch=1 if status is TurnStatus.RUNNING else 0,
            created_at=at,
        )
        try:
            async with services.db.batch() as batch:
                services.conversations.begin(
                    batch,
                    turn,
                    text,
                    owner=services.limits.owner,
                    lease_micros=services.limits.lease_micros,
                    earlier=earlier,
                )
                if idempotency:
                    services.conversations.remember(batch, principal, idempotency, turn.id, at=at)
        except Conflict:
            if idempotency and (known := await services.remembered(principal, idempotency)):
                return await attach(services, principal, known)
            conversation = await services.conversations.require(principal, conversation.id)
            status = await _next_status(services, conversation)
            continue
        return _active(services, principal, conversation, release, turn, text)
    raise ConversationBusy("this conversation is very busy; wait for its answer and send again", retry_after_seconds=1)


async def _next_status(services: Services, conversation: Conversation) -> TurnStatus:
    await services.conversations.end_expired(conversation, at=services.clock.micros())
    open_turns = await services.conversations.open_turns(conversation.tenant_id, conversation.id)
    step = next_step([status for _, status in open_turns])
    if step == "refuse":
        raise ConversationBusy(
            "a turn is running and three more wait in this conversation; wait for an answer and send again",
            retry_after_seconds=2,
        )
    return TurnStatus.RUNNING if step == "run" else TurnStatus.QUEUED


def _active(
    services: Services, principal: Principal, conversation: Conversation, release: LoadedRelease, turn: Turn, text: str
) -> ActiveTurn:
    active = ActiveTurn(
        principal=principal,
        conversation=conversation,
        release=release,
        turn=turn,
        text=text,
        stream=services.streams.open(turn.id, 1),
        deadline=Deadline.after(services.limits.deadline_seconds),
        waits=Waits(),
        began=time.perf_counter(),
        message_id=new_id("msg"),
    )
    if turn.status is TurnStatus.QUEUED:
        services.waiting[turn.id] = active
    return active


async def start_next(services: Services, tenant_id: str, conversation_id: str, run: Run) -> None:
    """Start the conversation's oldest waiting turn, if nothing runs. Whoever loses the race leaves it to the winner."""
    if services.draining:
        return
    for turn_id, status in await services.conversations.open_turns(tenant_id, conversation_id):
        if status is TurnStatus.RUNNING:
            return
        turn = await services.conversations.find_turn(tenant_id, turn_id)
        if turn is None or turn.status is not TurnStatus.QUEUED:
            continue
        try:
            async with services.db.batch() as batch:
                services.conversations.claim(
                    batch,
                    turn,
                    owner=services.limits.owner,
                    lease_micros=services.limits.lease_micros,
                    at=services.clock.micros(),
                )
        except Conflict:
            return
        run(services, await _claimed(services, turn))
        return


async def _claimed(services: Services, turn: Turn) -> ActiveTurn:
    """The turn as it runs now, with the conversation as the turn before it left it."""
    running = replace(turn, status=TurnStatus.RUNNING, epoch=turn.epoch + 1)
    waited = services.waiting.pop(turn.id, None)
    owner = waited.principal if waited else None
    conversation = await services.conversations.find(turn.tenant_id, turn.conversation_id)
    principal = owner or Principal(turn.tenant_id, conversation.subject)
    release = await services.releases.load(turn.tenant_id, turn.release_id)
    messages = await services.conversations.turn_messages(turn.tenant_id, turn.id)
    text = next(message.content for message in messages if message.position == 0)
    return _active(services, principal, conversation, release, running, text)


async def attach(services: Services, principal: Principal, turn_id: str) -> TurnStream:
    """The stream of a turn that an earlier request with the same key began."""
    stream = services.streams.find(turn_id)
    if stream is not None:
        return stream
    turn = await services.conversations.require_turn(principal, turn_id)
    return await _ended_stream(services, turn)


async def follow_turn(
    services: Services, principal: Principal, turn_id: str, after: tuple[int, int] | None
) -> AsyncIterator[list[Event]]:
    """All events after `after` = (epoch, seq): live when the turn runs here, else from its transcript.

    A turn that runs on another replica is waited for and then replayed.
    """
    turn = await services.conversations.require_turn(principal, turn_id)
    return _follow(services, turn, after)


async def _follow(services: Services, turn: Turn, after: tuple[int, int] | None) -> AsyncIterator[list[Event]]:
    stream = services.streams.find(turn.id)
    if stream is not None and (after is None or after[1] <= stream.seq):
        async for batch in stream.batches(after[1] if after and after[0] == stream.epoch else 0):
            yield batch
        return
    while not (turn.status.is_over or turn.status is TurnStatus.REQUIRES_ACTION):
        await asyncio.sleep(POLL_SECONDS)
        found = await services.conversations.find_turn(turn.tenant_id, turn.id)
        if found is None:
            return
        turn = found
    messages = await services.conversations.turn_messages(turn.tenant_id, turn.id)
    calls = await services.conversations.turn_calls(turn.tenant_id, turn.id)
    answer = next((message for message in reversed(messages) if message.role == "assistant"), None)
    yield list(replay(turn, messages, calls, stored_turn_body(turn, answer), after))


async def _ended_stream(services: Services, turn: Turn) -> TurnStream:
    """A stream that only replays: for a repeated request whose turn is no longer in memory."""
    stream = TurnStream(turn.id, turn.epoch)
    async for batch in _follow(services, turn, None):
        for event in batch:
            if event.name in events.ENDS_STREAM:
                stream.finish(event.name, event.data)
            else:
                stream.publish(event.name, event.data)
    return stream


async def cancel_turn(services: Services, principal: Principal, turn_id: str) -> Turn:
    """Stop a running or waiting turn; what was said stays.

    Raises:
        NotFound: no such turn for this principal.
        TurnOver: it had ended before.
    """
    turn = await services.conversations.require_turn(principal, turn_id)
    task = services.running.get(turn_id)
    if task is not None:
        task.cancel()
        await asyncio.wait([task])
    elif turn.status is TurnStatus.QUEUED:
        await _cancel_queued(services, turn)
    else:
        raise TurnOver(f"turn {turn_id!r} has ended ({turn.status.value}); there is nothing to cancel")
    return await services.conversations.require_turn(principal, turn_id)


async def _cancel_queued(services: Services, turn: Turn) -> None:
    try:
        async with services.db.batch() as batch:
            services.conversations.cancel_queued(batch, turn, at=services.clock.micros())
    except Conflict as error:
        raise TurnOver(f"turn {turn.id!r} has just begun or ended; ask for its state and try again") from error
    services.waiting.pop(turn.id, None)
    stream = services.streams.find(turn.id)
    if stream is not None:
        ended = replace(turn, status=TurnStatus.CANCELLED)
        stream.finish(events.CANCELLED, stored_turn_body(ended, None))
        services.streams.close(turn.id)
