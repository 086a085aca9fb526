"""How a turn begins: stored once (commit a), running if nothing else runs, waiting if something does."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from handrail.core import events
from handrail.core.deadline import Deadline
from handrail.core.errors import HandrailError, NotFound
from handrail.core.events import Event
from handrail.core.ids import new_id
from handrail.core.messages import Message
from handrail.core.principal import Principal
from handrail.db import Conflict
from handrail.flows.elsewhere import from_elsewhere
from handrail.flows.guardrails import count, judged, message_tripped
from handrail.flows.releases import LoadedRelease
from handrail.flows.sender import roles_of, sender_of
from handrail.flows.services import ActiveTurn, Services
from handrail.flows.shown import shown_of
from handrail.flows.veil import veil_of_turn, veiled
from handrail.insight.traces import SpanLink, TurnTrace, root_span_id, span_id
from handrail.protection.guardrails import InvalidMessage, Judgement, admit_text
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
from handrail.serving.resilience import SwitchedOff, Waits
from handrail.telemetry.logging import logger
from handrail.telemetry.trace import TraceContext, current_trace, trace_context

ATTEMPTS = 8
MOST_EARLIER_CHARACTERS = 1_000_000
POLL_SECONDS = 0.25
# A waiting turn looks whether it may start at each eighth poll, every two seconds.
LOOKS_A_CLEARING = 8


Run = Callable[[Services, ActiveTurn], None]


@dataclass(frozen=True, slots=True)
class _AnyLength:
    """What came before is bounded by the request and cut by the history's limits."""

    max_characters: int = MOST_EARLIER_CHARACTERS


async def admit_earlier(
    services: Services, protecting: Sequence[LoadedRelease], earlier: Sequence[Message]
) -> list[Message]:
    """What a client says came before, in the form that messages are stored in; what is empty then is left out, and
    what a guardrail stops."""
    admitted: list[Message] = []
    for message in earlier:
        with suppress(InvalidMessage):
            text = admit_text(message.content, _AnyLength())
            judgement = await judged(services, protecting, text, "user")
            count(services, protecting[0].agent, "user", judgement.tripped)
            if not judgement.stops:
                admitted.append(replace(message, content=text))
    return admitted


@dataclass(frozen=True, slots=True)
class Arrived:
    """A message as it was admitted and judged, and what its client says came before."""

    text: str
    judgement: Judgement
    earlier: Sequence[Message] = ()
    idempotency: IdempotencyScope | None = None


async def begin(
    services: Services,
    principal: Principal,
    conversation: Conversation,
    release: LoadedRelease,
    arrived: Arrived,
) -> ActiveTurn | TurnStream:
    """Store the message as the next turn of its conversation; the other's stream when the same key was faster.

    The conversation moves with it when `release` is another than its own: that one is switched off.
    A turn runs only if no other is open, so that none jumps the line; when that has changed meanwhile the store
    refuses, and it is looked at again.
    """
    text, judgement, idempotency = arrived.text, arrived.judgement, arrived.idempotency
    trace = current_trace() or trace_context()
    for _ in range(ATTEMPTS):
        status = await _next_status(services, conversation)
        at = services.clock.micros()
        turn = Turn(
            id=new_id("turn"),
            tenant_id=conversation.tenant_id,
            conversation_id=conversation.id,
            seq=conversation.turn_count + 1,
            status=status,
            agent=conversation.agent,
            release_id=release.id,
            moved_from=None if release.id == conversation.release_id else conversation.release_id,
            epoch=1 if status is TurnStatus.RUNNING else 0,
            created_at=at,
            roles=roles_of(principal),
            scopes=tuple(sorted(principal.scopes)),
            teams=tuple(sorted(principal.teams)),
            tripped=judgement.stored(),
            trace_id=trace.trace_id,
        )
        try:
            async with services.db.batch() as batch:
                services.conversations.begin(
                    batch,
                    turn,
                    text,
                    owner=services.limits.owner,
                    lease_micros=services.limits.lease_micros,
                    earlier=arrived.earlier,
                    withheld=judgement.stops,
                )
                if judgement.tripped:
                    message_tripped(services, batch, turn, judgement, conversation.subject)
                if idempotency:
                    services.conversations.idempotency.remember(batch, principal, idempotency, turn.id, at=at)
        except Conflict:
            if idempotency and (known := await services.remembered(principal, idempotency)):
                return await attach(services, principal, known)
            conversation = await services.conversations.require(principal, conversation.id)
            continue
        count(services, turn.agent, "user", judgement.tripped)
        if turn.seq > 1 or turn.moved_from:
            # Read again now that nobody else can change it: the turn before may have ended in between, and what it
            # used up (a confirmation) must not be used twice.
            conversation = await services.conversations.find(conversation.tenant_id, conversation.id)
        return active_turn(services, principal, conversation, release, turn, text, trace)
    raise ConversationBusy("this conversation is very busy; wait for its answer and send again", retry_after_seconds=1)


async def pinned(services: Services, of: Conversation | Turn) -> str:
    """The release that answers: the conversation's own, or the stable one when that is switched off.

    Raises:
        SwitchedOff: the agent or the tenant is, or there is no other release.
    """
    services.switches.require_agent(of.tenant_id, of.agent)
    if services.switches.find("release", of.tenant_id, of.release_id) is None:
        return of.release_id
    stable = await services.releases.stable(of.tenant_id, of.agent) or of.release_id
    services.switches.require_release(of.tenant_id, of.agent, stable)
    return stable


async def _next_status(services: Services, conversation: Conversation) -> TurnStatus:
    """Whether the next turn runs or waits, as things stand; the count of turns tells the store if they changed."""
    if conversation.open_turns == 0:
        return TurnStatus.RUNNING
    open_turns = await services.conversations.open_turns(conversation.tenant_id, conversation.id)
    if open_turns:
        await clear(services, conversation.id)
        open_turns = await services.conversations.open_turns(conversation.tenant_id, conversation.id)
    step = next_step([status for _, status in open_turns])
    if step == "refuse":
        raise ConversationBusy(
            "a turn is running and three more wait in this conversation; wait for an answer and send again",
            retry_after_seconds=2,
        )
    return TurnStatus.RUNNING if step == "run" else TurnStatus.QUEUED


async def clear(services: Services, conversation_id: str) -> None:
    """End what is open in name only: a turn whose end could not be stored. Dead owners are the sweeper's work."""
    record_end = services.unrecorded.get(conversation_id)
    if record_end is not None:
        # A conflict says that somebody has ended it since.
        with suppress(Conflict):
            await record_end()
        services.unrecorded.pop(conversation_id, None)


def active_turn(
    services: Services,
    principal: Principal,
    conversation: Conversation,
    release: LoadedRelease,
    turn: Turn,
    text: str,
    trace: TraceContext | None = None,
) -> ActiveTurn:
    """What a turn has while it runs, with a fresh deadline.

    Args:
        trace: the one it belongs to. Without, it goes on in a trace of its own that names the one it began in.
    """
    active = ActiveTurn(
        principal=principal,
        conversation=conversation,
        release=release,
        turn=turn,
        text=text,
        stream=services.streams.open(turn.id, turn.epoch, (conversation.tenant_id, conversation.subject)),
        deadline=Deadline.after(_seconds(services, release)),
        waits=Waits(),
        began=time.perf_counter(),
        message_id=new_id("msg"),
        trace=_trace(turn, trace),
    )
    if turn.status is TurnStatus.QUEUED:
        services.waiting[turn.id] = active
    return active


def _trace(turn: Turn, context: TraceContext | None) -> TurnTrace:
    if context is not None or turn.trace_id is None:
        return TurnTrace(context or trace_context(), root_span_id(turn.id, max(1, turn.epoch)))
    link = SpanLink(turn.trace_id, span_id(root_span_id(turn.id, 1), 0))
    return TurnTrace(trace_context(), root_span_id(turn.id, turn.epoch), link)


def _seconds(services: Services, release: LoadedRelease) -> float:
    """The agent's own deadline; the server's is the most."""
    own = release.config.limits.deadline_seconds
    most = services.limits.deadline_seconds
    return most if own is None else min(own, most)


async def start_next(services: Services, tenant_id: str, conversation_id: str, run: Run) -> None:
    """Start the conversation's oldest waiting turn, if nothing runs; a parked one that was decided meanwhile is older.
    Whoever loses the race leaves it to the winner; when the store fails, the turn that waits looks again."""
    if services.draining:
        return
    try:
        if (go_on := services.held_back.pop(conversation_id, None)) is not None:
            await go_on()
        for turn_id, status in await services.conversations.open_turns(tenant_id, conversation_id):
            if status is TurnStatus.RUNNING:
                return
            turn = await services.conversations.find_turn(tenant_id, turn_id)
            if turn is not None and turn.status is TurnStatus.QUEUED:
                await _start(services, turn, run)
                return
    except Conflict:
        return
    except HandrailError as error:
        logger().warning("the next turn could not be started", conversation_id=conversation_id, code=error.code)


async def _start(services: Services, turn: Turn, run: Run) -> None:
    """Claim a waiting turn and let it run here; `Conflict` when somebody else did."""
    if turn.id in services.starting:
        return
    services.starting.add(turn.id)
    try:
        pin = turn.release_id
        # One that may not run now is started all the same, to be told so.
        with suppress(SwitchedOff):
            pin = await pinned(services, turn)
        release = await services.releases.load(turn.tenant_id, pin)
        if pin != turn.release_id:
            turn = replace(turn, release_id=pin, moved_from=turn.release_id)
        async with services.db.batch() as batch:
            if turn.moved_from:
                services.conversations.move(batch, turn)
            services.conversations.claim(
                batch,
                turn,
                owner=services.limits.owner,
                lease_micros=services.limits.lease_micros,
                at=services.clock.micros(),
            )
        run(services, await _claimed(services, turn, release))
    finally:
        services.starting.discard(turn.id)


async def _claimed(services: Services, turn: Turn, release: LoadedRelease) -> ActiveTurn:
    """The turn as it runs now, with the conversation as the turn before it left it."""
    running = replace(turn, status=TurnStatus.RUNNING, epoch=turn.epoch + 1)
    conversation = await services.conversations.find(turn.tenant_id, turn.conversation_id)
    messages = await services.conversations.turn_messages(turn.tenant_id, turn.id)
    text = next(message.content for message in messages if message.position == 0)
    waited = services.waiting.pop(turn.id, None)
    principal = waited.principal if waited else sender_of(turn, conversation)
    trace = waited.trace.context if waited else TraceContext(turn.trace_id) if turn.trace_id else trace_context()
    return active_turn(services, principal, conversation, release, running, text, trace)


async def wait_for_start(services: Services, active: ActiveTurn, run: Run) -> None:
    """Stay with a waiting turn until it runs here or has ended: the process that should have started it may be
    another one that runs it now, or gone. Its client hears of the end either way."""
    turn, looks = active.turn, 0
    await start_next(services, turn.tenant_id, turn.conversation_id, run)
    while turn.id in services.waiting and not services.draining:
        await asyncio.sleep(POLL_SECONDS)
        looks += 1
        try:
            if looks % LOOKS_A_CLEARING == 0:
                await clear(services, active.conversation.id)
                await start_next(services, turn.tenant_id, turn.conversation_id, run)
            found = await services.conversations.find_turn(turn.tenant_id, turn.id)
            is_elsewhere = found is not None and found.status is not TurnStatus.QUEUED
            if found is not None and is_elsewhere and turn.id in services.waiting and turn.id not in services.starting:
                await _copy(services, found, active.stream)
                services.waiting.pop(turn.id, None)
                services.streams.close(turn.id)
        except HandrailError as error:
            logger().warning("a waiting turn could not be looked after", turn_id=turn.id, code=error.code)


async def _copy(services: Services, turn: Turn, stream: TurnStream) -> None:
    """Tell the followers of this stream what became of a turn that ran elsewhere."""
    # Never by this process's own stream of the turn: that is the one that is told here, and would follow itself.
    after = (stream.epoch, stream.seq) if stream.seq else None
    async for batch in _follow_elsewhere(services, turn, after):
        for event in batch:
            stream.mirror(event)


async def attach(services: Services, principal: Principal, turn_id: str) -> TurnStream:
    """The stream of a turn that an earlier request with the same key began."""
    turn = await services.conversations.require_turn(principal, turn_id)
    return _current_stream(services, turn) or _copied_stream(services, turn)


async def follow_turn(
    services: Services, principal: Principal, turn_id: str, after: tuple[int, int] | None
) -> AsyncIterator[list[Event]]:
    """All events after `after` = (epoch, seq): live when the turn runs here, else from its transcript.

    A turn that runs on another replica is followed over the shared server; without one it is waited for and replayed.
    """
    turn = await services.conversations.require_turn(principal, turn_id)
    batches = _follow(services, turn, after)
    veil = await veil_of_turn(services, principal, turn)
    return veiled(batches, veil) if veil.hides else batches


async def _follow(services: Services, turn: Turn, after: tuple[int, int] | None) -> AsyncIterator[list[Event]]:
    stream = _current_stream(services, turn)
    if stream is None or (after is not None and after[0] == stream.epoch and after[1] > stream.seq):
        async for batch in _follow_elsewhere(services, turn, after):
            yield batch
        return
    async for batch in stream.batches(after[1] if after and after[0] == stream.epoch else 0):
        after = (batch[-1].epoch, batch[-1].seq)
        yield batch
    if stream.result is None and not services.draining:
        # The turn was lost to another process: what was shown so far is told apart from what that one says.
        async for batch in _follow_elsewhere(services, turn, after):
            yield batch


async def _follow_elsewhere(
    services: Services, turn: Turn, after: tuple[int, int] | None
) -> AsyncIterator[list[Event]]:
    """The events of a turn that another process runs, live where processes share a server, else once it has ended."""
    if turn.status in (TurnStatus.QUEUED, TurnStatus.RUNNING):
        async for batch in from_elsewhere(services, turn, after):
            after = (batch[-1].epoch, batch[-1].seq)
            yield batch
            if batch[-1].name in events.ENDS_STREAM:
                return
    async for batch in _from_transcript(services, turn, after):
        yield batch


def _current_stream(services: Services, turn: Turn) -> TurnStream | None:
    """This process's stream of the turn; not one of an earlier epoch, which went on in another process."""
    stream = services.streams.find(turn.id)
    return stream if stream is not None and stream.epoch >= turn.epoch else None


async def _from_transcript(services: Services, turn: Turn, after: tuple[int, int] | None) -> AsyncIterator[list[Event]]:
    """The events of a turn that does not run here, once it has ended; it is ended here when its process died."""
    looks = 0
    while not (turn.status.is_over or turn.status is TurnStatus.REQUIRES_ACTION):
        await asyncio.sleep(POLL_SECONDS)
        looks += 1
        if looks % LOOKS_A_CLEARING == 0:
            await clear(services, turn.conversation_id)
        found = await services.conversations.find_turn(turn.tenant_id, turn.id)
        if found is None:
            return
        turn = found
    messages = await services.conversations.turn_messages(turn.tenant_id, turn.id)
    calls = await services.conversations.turn_calls(turn.tenant_id, turn.id)
    answer = next((message for message in reversed(messages) if message.role == "assistant"), None)
    shown = await shown_of(services, turn.tenant_id, turn.release_id) if calls else None
    rebuilt = list(replay(turn, messages, calls, stored_turn_body(turn, answer), after, shown))
    if rebuilt:
        yield rebuilt


def _copied_stream(services: Services, turn: Turn) -> TurnStream:
    """A stream that tells what becomes of a turn that does not run here: for a repeated request."""
    stream = TurnStream(turn.id, turn.epoch)

    async def copy() -> None:
        try:
            await _copy(services, turn, stream)
        except HandrailError as error:
            stream.abandon(error)
        if not stream.is_over:
            stream.abandon(NotFound(f"there is no turn {turn.id!r}", param="turn_id"))

    copying = asyncio.get_running_loop().create_task(copy())
    services.watchers.add(copying)
    copying.add_done_callback(services.watchers.discard)
    return stream
