"""How a turn is stopped, whatever it does and whichever process runs it."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from handrail.core import events
from handrail.core.errors import UsageError
from handrail.core.principal import Principal, Role
from handrail.db import Batch, Conflict
from handrail.flows.audit import stopped_by_staff
from handrail.flows.conversations import require_own
from handrail.flows.services import Services
from handrail.serving.conversations import Turn, TurnStatus, stored_turn_body

POLL_SECONDS = 0.05
WITHIN_SECONDS = 5.0
# Writes down who stops a turn, beside what stops it where that is a write of ours.
Note = Callable[[Batch | None], None]


class TurnOver(UsageError):
    """The turn can't be stopped: it is no longer running or waiting."""

    code = "turn_over"


async def cancel_turn(services: Services, principal: Principal, turn_id: str) -> Turn:
    """Stop a running or waiting turn; what was said stays.

    One that another process runs is stopped by that process, or by the one that takes it over: it has its order, and
    the turn is still running when that takes longer than `WITHIN_SECONDS`.

    Raises:
        NotFound: no such turn for this principal.
        PermissionDenied: staff who may read it, but neither own nor operate it.
        TurnOver: it had ended before, or is ending now.
    """
    turn = await services.conversations.require_turn(principal, turn_id)
    if not principal.has_role(Role.OPERATOR, Role.ADMIN):
        await require_own(services, principal, turn.conversation_id)
    conversation = await services.conversations.find(turn.tenant_id, turn.conversation_id)
    await _stop(services, turn, partial(stopped_by_staff, services, principal, conversation, turn.id))
    turn = await services.conversations.require_turn(principal, turn_id)
    if turn.status is TurnStatus.RUNNING and turn_id not in services.running:
        return turn
    if turn.status is not TurnStatus.CANCELLED:
        raise TurnOver(f"turn {turn_id!r} has ended ({turn.status.value}); there is nothing to cancel")
    return turn


async def _stop(services: Services, turn: Turn, note: Note) -> None:
    """However it has to be done; who did it is written beside it."""
    if turn.status is TurnStatus.QUEUED and turn.id not in services.running:
        await _cancel_queued(services, turn, note)
    elif turn.status is TurnStatus.REQUIRES_ACTION:
        await _cancel_parked(services, turn, note)
    elif (task := services.running.get(turn.id)) is not None:
        # A task that is cancelled before its first step never runs, and this one has an end to store.
        await asyncio.sleep(0)
        if turn.id not in services.ending:
            note(None)
            task.cancel()
        await asyncio.wait([task])
    elif turn.status is TurnStatus.RUNNING:
        await _stop_elsewhere(services, turn, note)


async def _stop_elsewhere(services: Services, turn: Turn, note: Note) -> None:
    """Store the order and wait a little for the process that runs the turn."""
    try:
        async with services.db.batch() as batch:
            services.leases.request_cancel(batch, turn.tenant_id, turn.id)
            note(batch)
    except Conflict:
        # It has ended meanwhile, which its row says.
        return
    services.tell_to_look()
    until = asyncio.get_running_loop().time() + WITHIN_SECONDS
    while asyncio.get_running_loop().time() < until:
        await asyncio.sleep(POLL_SECONDS)
        found = await services.conversations.find_turn(turn.tenant_id, turn.id)
        if found is None or found.status is not TurnStatus.RUNNING:
            return


async def _cancel_parked(services: Services, turn: Turn, note: Note) -> None:
    """A turn that waits for people: what it asked for is withdrawn and can't be approved any more."""
    try:
        async with services.db.batch() as batch:
            services.approvals.withdraw(batch, turn.tenant_id, turn.id, "the turn was cancelled")
            services.conversations.cancel_parked(batch, turn, at=services.clock.micros())
            note(batch)
            services.facts.changed(batch, turn.tenant_id, turn.conversation_id, at=services.clock.micros())
    except Conflict as error:
        raise TurnOver(f"turn {turn.id!r} has just gone on or ended; ask for its state and try again") from error


async def _cancel_queued(services: Services, turn: Turn, note: Note) -> None:
    try:
        async with services.db.batch() as batch:
            services.conversations.cancel_queued(batch, turn, at=services.clock.micros())
            note(batch)
            services.facts.changed(batch, turn.tenant_id, turn.conversation_id, at=services.clock.micros())
    except Conflict as error:
        raise TurnOver(f"turn {turn.id!r} has just begun or ended; ask for its state and try again") from error
    services.waiting.pop(turn.id, None)
    stream = services.streams.find(turn.id)
    if stream is not None:
        ended = replace(turn, status=TurnStatus.CANCELLED)
        stream.finish(events.CANCELLED, stored_turn_body(ended, None))
        services.streams.close(turn.id)
